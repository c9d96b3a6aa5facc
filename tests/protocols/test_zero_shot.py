"""Zero-shot: nothing is trained, and any number of datasets are tested."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import ZeroShot
from tests.config_faults import protocol_faults


def test_a_zero_shot_task_trains_on_nothing(dataset: Dataset, shots: Shots, parts: Any) -> None:
    for drawn in (None, shots):
        task = ZeroShot().confirm_task(dataset, drawn)
        assert parts(task) == [("train", 0, 24), ("accuracy", 72, 24)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"accuracy": 0.5}, {"accuracy": 0.5, "score": 0.5}),
        ({"accuracy": 1.0, "dtd": 0.5}, {"source": 1.0, "dtd": 0.5, "score": 0.75}),
    ],
)
def test_all_datasets_judge_the_backbone(
    parts: dict[str, float], expected: dict[str, float]
) -> None:
    assert ZeroShot().score(parts) == pytest.approx(expected)


def test_zero_shot_tests_one_configuration_once() -> None:
    config, protocol = build_config({"protocol": "zero_shot", "seed": 7}, "here"), ZeroShot()
    assert list(protocol.fixed_settings(config)) == ["zero-shot"]
    assert protocol.fixed_settings(config)["zero-shot"].subset == "none"
    assert protocol.shot_seeds(config) == (7,)


def test_targets_are_allowed_and_not_needed() -> None:
    for targets in ([], ["dtd"]):
        assert protocol_faults({"protocol": "zero_shot", "data": {"targets": targets}}) == []
