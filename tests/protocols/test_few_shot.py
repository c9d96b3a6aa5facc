"""Few-shot, transfer and zero-shot: all classes are trained, or none, and tested together."""

from dataclasses import replace

import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import FewShot, Transfer, ZeroShot
from study.storage.result_folder import JsonObject
from tests.paper_dataset import make_paper_dataset

from .conftest import parts


@pytest.mark.parametrize("protocol, trained", [(FewShot(), 96), (ZeroShot(), 0)])
def test_a_test_scores_the_whole_test_split(
    dataset: Dataset, shots: Shots, protocol: FewShot, trained: int
):
    task = protocol.task_of_test(dataset, shots)
    assert parts(task) == [("train", trained, 24), ("accuracy", 72, 24)]
    assert task.evaluations[0].records == dataset.test


def test_transfer_scores_every_target_among_its_own_names(dataset: Dataset, shots: Shots):
    target = replace(make_paper_dataset(classes=5), name="shift", train=(), val=())
    task = Transfer().task_of_test(dataset, shots, [target])
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24), ("shift", 15, 5)]


def test_zero_shot_tests_one_configuration_once():
    config = build_config({"protocol": "zero_shot", "seed": 7}, "here")
    assert [one.subset for one in ZeroShot().fixed_settings(config).values()] == ["none"]
    assert ZeroShot().shot_seeds(config) == (7,)


@pytest.mark.parametrize(
    "data, search, rule",
    [
        ({"shots": 1}, {}, "holdout"),
        ({"shots": 2}, {}, "folds"),
        ({"shots": 1, "val_shots": 3}, {}, "folds"),
        ({"shots": 16}, {"folds": 21}, "holdout"),
        ({"shots": 16}, {"folds": 20}, "folds"),
        ({"shots": 16}, {"selection": "holdout"}, "holdout"),
    ],
)
def test_folds_are_chosen_where_each_has_an_image_of_every_class_or_by_name(
    dataset: Dataset, data: JsonObject, search: JsonObject, rule: str
):
    config = build_config({"data": data, "search": {"folds": None, **search}}, "here")
    assert FewShot().rule(config, dataset).name == rule
    assert FewShot().rule(config, {}).name == rule
