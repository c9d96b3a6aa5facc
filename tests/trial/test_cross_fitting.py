"""The choice of a head's training: no image is scored with one that it helped to choose."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from study.backbones.backbone import Backbone
from study.data.records import Record
from study.data.tasks import Part
from study.method.head import GRID, HeadTraining
from study.protocols import Competitors, Generalized
from study.trial import TrialData
from study.trial.cross_fitting import HeadChoice, choose_head, in_first_half
from study.trial.evaluation import EvaluatedPart, Evaluation, fold_scores, trial_scores
from study.trial.run_trial import run_trial
from study.trial.task_evaluation import evaluate_task
from tests.paper_dataset import grouped
from tests.small_trials import Prepare, outcome, trial

CLASSES = (0, 1)
LINEAR: dict[str, Any] = {"head": "linear", "epochs": 1}


@pytest.fixture(scope="module")
def data(prepare: Prepare) -> TrialData:
    return prepare("folds").search()


def part(images: int, name: str = "accuracy") -> Part:
    """A part of so many images of class 0."""
    return Part(name, tuple(Record(f"{n}.png", 0) for n in range(images)), CLASSES)


def came_to(training: int, right: Sequence[bool], images: Part | None = None) -> Evaluation:
    """A model with a head of so many steps, and which of its images of class 0 it recognises."""
    predicted = torch.tensor([0 if is_right else 1 for is_right in right])
    probabilities = torch.full((2, len(right)), float(training))
    parts = [EvaluatedPart(images or part(len(right)), predicted, probabilities)]
    return Evaluation(None, HeadTraining(0.001, training), frozenset(CLASSES), parts)


def choose(data: TrialData, *trainings: Iterable[str]) -> HeadChoice:
    """Choose among trainings; of each the folds, whose images are ``1`` where they are right."""
    models = []
    for number, folds in enumerate(trainings):
        models.append([came_to(number, [image == "1" for image in fold]) for fold in folds])
    return choose_head(list(zip(*models, strict=True)), data)


def trainings_of(evaluations: Sequence[Evaluation]) -> list[int]:
    return [one.training.steps for one in evaluations if one.training]


def test_of_equal_trainings_the_first_ships(data: TrialData):
    choice = choose(data, ["10", "01"], ["11", "01"], ["01", "11"])
    assert trainings_of(choice.shipped) == [1, 1]


def test_each_fold_is_scored_with_the_training_that_is_best_on_the_others(
    data: TrialData,
):
    choice = choose(data, ["1111", "1100", "1000"], ["0001", "1110", "1110"])
    assert trainings_of(choice.scored) == [1, 0, 0]
    assert choice.scores == {"accuracy": pytest.approx(1 / 3), "score": pytest.approx(1 / 3)}
    assert fold_scores(choice.scored, data) == (0.25, 0.5, 0.25)
    assert fold_scores(choice.scored[:1], data) == (), "one task is no fold"
    assert trainings_of(choice.shipped) == [0, 0, 0]
    assert trial_scores(choice.shipped, data)["score"] == pytest.approx(7 / 12)


@pytest.mark.parametrize("folds", [["1100"], ["10", "11", "00"]])
def test_one_training_makes_no_choice_and_is_scored_on_its_images(
    data: TrialData, folds: list[str]
):
    choice = choose(data, folds)
    assert choice.scored == choice.shipped
    assert choice.scores == trial_scores(choice.shipped, data)


def test_without_folds_each_half_is_scored_with_the_training_that_is_best_on_the_other(
    data: TrialData,
):
    images = part(8)
    first = in_first_half(images).tolist()
    assert sum(first) == 4
    # The first training is right on the first half alone, and the second on the other.
    models = [came_to(0, first, images), came_to(1, [not one for one in first], images)]
    choice = choose_head([models], data)
    assert choice.scores["score"] == 0.0
    assert [trial_scores([one], data)["score"] for one in models] == [0.5, 0.5]
    ((_, predicted, probabilities, *_),) = choice.scored[0].parts
    assert predicted.tolist() == [1] * 8
    assert probabilities.tolist() == 2 * [[1.0 if one else 0.0 for one in first]]
    assert trainings_of(choice.shipped) == [0]


def test_a_training_that_is_best_on_both_halves_is_scored_on_all_images(data: TrialData):
    choice = choose(data, ["00000000"], ["11111110"])
    assert choice.scores["score"] == 7 / 8


def test_halves_divide_each_class_and_depend_on_paths_alone():
    records = tuple(Record(f"{label}/{n}.png", label) for label in range(5) for n in range(4))
    one = Part("accuracy", records, tuple(range(5)))
    halves = in_first_half(one)
    assert halves.unflatten(0, (5, 4)).sum(dim=1).tolist() == [2] * 5
    assert torch.equal(in_first_half(replace(one, records=records[::-1])), halves.flip(0))
    singles = replace(one, records=records[::4])
    assert in_first_half(singles).sum() in (2, 3), "single images go to both halves"


def test_a_group_is_in_one_half():
    records = grouped(tuple(Record(f"{n}.png", n // 8) for n in range(32)))
    halves = in_first_half(Part("accuracy", records, (0, 1, 2, 3)))
    assert torch.equal(halves[::2], halves[1::2])
    assert halves.unflatten(0, (4, 8)).sum(dim=1).tolist() == [4] * 4


def test_a_single_image_is_scored_with_the_first_training_which_it_did_not_choose(
    data: TrialData,
):
    choice = choose(data, ["0"], ["1"])
    assert choice.scores["score"] == 0.0
    assert trainings_of(choice.shipped) == [1]


def test_the_calibration_that_ships_suits_the_head_that_ships(data: TrialData):
    generalized = replace(data, protocol=Generalized(), split="val")
    base, new = part(2, "base"), Part("new", (Record("3.png", 1), Record("4.png", 1)), CLASSES)
    zeros, ones = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    right = np.array([True, True])
    models = []
    for training, gap in enumerate((1.0, 5.0)):
        gaps = np.full(2, gap)
        competing = (
            Competitors(gaps + 10, right, zeros.numpy()),
            Competitors(gaps, right, ones.numpy()),
        )
        # Each training is right on one of the folds.
        for answers in (ones, zeros) if training else (zeros, ones):
            parts = [
                EvaluatedPart(base, answers, torch.ones(2), competing[0]),
                EvaluatedPart(new, 1 - answers, torch.ones(2), competing[1]),
            ]
            way = HeadTraining(0.001, training)
            models.append(Evaluation(None, way, frozenset({0}), parts))
    choice = choose_head([models[::2], models[1::2]], generalized)
    assert trainings_of(choice.scored) == [1, 0]
    assert choice.scores["score"] == 0.0
    assert choice.scores["calibration"] == trial_scores(choice.shipped, generalized)["calibration"]
    assert choice.scores["calibration"] != trial_scores(choice.scored, generalized)["calibration"]


@pytest.mark.parametrize("setting", ["holdout", "class_folds"])
def test_a_trial_reports_the_cross_fitted_score_and_ships_the_best_head(
    prepare: Prepare, backbone: Backbone, setting: str, monkeypatch: pytest.MonkeyPatch
):
    searched = prepare(setting).search()
    evaluated = []

    def watched(*arguments: Any) -> Any:
        evaluations = evaluate_task(*arguments)
        evaluated.append(evaluations[0])
        return evaluations

    monkeypatch.setattr("study.trial.run_trial.evaluate_task", watched)
    (report,) = run_trial(trial(**LINEAR), searched, backbone)
    choice = choose_head(evaluated, searched)
    every = [trial_scores(one, searched)["score"] for one in zip(*evaluated, strict=True)]
    assert len(every) == len(GRID)
    assert report.metrics["val_score"] == choice.scores["score"]
    assert report.folds == fold_scores(choice.scored, searched)
    best = GRID[every.index(max(every))]
    assert (report.metrics["head_lr"], report.metrics["head_steps"]) == best
    fixed = {"head_lr": best.lr, "head_steps": best.steps}
    (again,) = run_trial(trial(**LINEAR, **fixed), searched, backbone)
    assert again.metrics["val_score"] == max(every), "one training is no choice"
    shipped, same = outcome(report), outcome(again)
    deltas = [name for name in shipped if name.startswith("delta ")]
    assert [shipped[name] for name in deltas] == [same[name] for name in deltas] != []
