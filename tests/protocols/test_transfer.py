"""Transfer: one dataset is trained on, and others are tested."""

from dataclasses import replace
from typing import Any

import pytest

from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import Transfer
from tests.config_faults import protocol_faults
from tests.paper_dataset import make_paper_dataset


def test_transfer_scores_every_target_among_its_own_names(
    dataset: Dataset, shots: Shots, parts: Any
) -> None:
    target = replace(make_paper_dataset(classes=5), name="shift", train=(), val=())
    task = Transfer().confirm_task(dataset, shots, [target])
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24), ("shift", 15, 5)]


def test_holdout_scores_on_the_validation_shots_of_the_source(
    dataset: Dataset, shots: Shots, parts: Any
) -> None:
    (task,) = Transfer().search_tasks(dataset, shots, Transfer().find_rule("holdout"), 1)
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert (task.train.records, task.evaluations[0].records) == (shots.train, shots.val)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"accuracy": 0.25}, {"accuracy": 0.25, "score": 0.25}),
        (
            {"accuracy": 1.0, "dtd": 0.5, "eurosat": 0.25},
            {"source": 1.0, "dtd": 0.5, "eurosat": 0.25, "score": 0.375},
        ),
    ],
)
def test_the_targets_judge_a_trial(parts: dict[str, float], expected: dict[str, float]) -> None:
    assert Transfer().score(parts) == pytest.approx(expected)


def test_a_target_is_needed() -> None:
    (fault,) = protocol_faults({"protocol": "transfer"})
    assert fault == "data.targets: is empty; transfer needs at least one dataset to test on"
