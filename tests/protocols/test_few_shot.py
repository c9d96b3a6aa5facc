"""Few-shot: all classes are trained, and tested together."""

from typing import Any

import pytest

from study.config.loading import build_config
from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import FewShot


def test_confirm_scores_the_whole_test_split(dataset: Dataset, shots: Shots, parts: Any) -> None:
    task = FewShot().confirm_task(dataset, shots)
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert task.evaluations[0].records == dataset.test


def test_the_accuracy_judges_a_trial() -> None:
    assert FewShot().score({"accuracy": 0.25}) == {"accuracy": 0.25, "score": 0.25}


@pytest.mark.parametrize(
    ("data", "folds", "rule"),
    [
        ({"shots": 1}, None, "holdout"),
        ({"shots": 2}, None, "folds"),
        ({"shots": 1, "val_shots": 3}, None, "folds"),
        ({"shots": 16}, 21, "holdout"),
        ({"shots": 16}, 20, "folds"),
    ],
)
def test_folds_need_an_image_of_each_class_in_every_fold(
    dataset: Dataset, data: dict[str, Any], folds: int | None, rule: str
) -> None:
    config = build_config({"data": data, "search": {"folds": folds}}, "here")
    assert FewShot().rule(config, dataset).name == rule
    assert FewShot().rule_from_report(config, {}).name == rule


def test_a_rule_that_is_named_is_taken(dataset: Dataset) -> None:
    config = build_config({"search": {"selection": "holdout"}}, "here")
    assert FewShot().rule(config, dataset).name == "holdout"
    assert FewShot().rule_from_report(config, {}).name == "holdout"
