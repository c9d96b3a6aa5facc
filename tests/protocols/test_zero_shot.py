"""Zero-shot: nothing is trained, and any number of datasets are tested."""

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import ZeroShot

from .conftest import parts


def test_a_zero_shot_task_trains_on_nothing(dataset: Dataset, shots: Shots):
    for drawn in (None, shots):
        task = ZeroShot().task_of_test(dataset, drawn)
        assert parts(task) == [("train", 0, 24), ("accuracy", 72, 24)]


def test_zero_shot_tests_one_configuration_once():
    config = build_config({"protocol": "zero_shot", "seed": 7}, "here")
    protocol = ZeroShot()
    settings = protocol.fixed_settings(config)
    assert settings.keys() == {"zero-shot"}
    assert settings["zero-shot"].subset == "none"
    assert protocol.shot_seeds(config) == (7,)
