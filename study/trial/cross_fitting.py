"""The choice among the trainings of a head, and the score of a trial that makes it.

The training that is best on some images scores higher on them than on others, by the choice alone.
A trial whose text features classify makes no such choice. So that both compete fairly, no image is
scored with a training that it helped to choose:

- Of several folds, each is scored with the training that is best on the others.
- Validation images without folds are divided into two halves, class by class, and each half is
  scored with the training that is best on the other.

The training that is best on all images ships. Source: Varma and Simon 2006, "Bias in error
estimation when using cross-validation for model selection".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from study.data.records import ordered_records
from study.data.splits import deal, has_groups
from study.data.tasks import Part
from study.trial.evaluation import (
    Accuracies,
    Evaluation,
    joint_scores,
    part_accuracies,
    trial_scores,
)
from study.trial.study import TrialData

HALVES_KEY = "halves of the validation images"
"""The key of the random order in which images are dealt to halves; it depends on paths too."""


@dataclass(frozen=True)
class HeadChoice:
    """The training of a head that ships, and the scores of its trial."""

    shipped: Sequence[Evaluation]
    """The evaluations with the training that is best on all images, one per task."""
    scored: Sequence[Evaluation]
    """The evaluations that the score is computed from, one per task."""
    scores: Mapping[str, float]
    """The scores of the trial by name, as fractions."""


def choose_head(evaluated: Sequence[Sequence[Evaluation]], data: TrialData) -> HeadChoice:
    """Choose among the trainings of a head, and score the trial by cross-fitting.

    Of trainings with equal scores the first is chosen.

    Args:
        evaluated: the evaluations of each task, one per training, in the same order.
        data: the data of the trial.
    """
    trainings = list(zip(*evaluated, strict=True))
    if len(trainings) == 1:
        (shipped,) = trainings
        return HeadChoice(shipped, shipped, trial_scores(shipped, data))
    accuracies = []
    for tasks in trainings:
        accuracies.append([part_accuracies(evaluation, data) for evaluation in tasks])
    shipped = trainings[_best_training(accuracies, data)]
    if len(evaluated) > 1:
        scored = _by_other_folds(trainings, accuracies, data)
    else:
        scored = [_by_other_half(evaluated[0], data)]
    scores = trial_scores(scored, data)
    # The calibration and the like must suit the head that ships.
    names_of_shipped = scores.keys() & set(data.protocol.further_shipped)
    if names_of_shipped:
        scores_of_shipped = trial_scores(shipped, data)
        for name in names_of_shipped:
            scores[name] = scores_of_shipped[name]
    return HeadChoice(shipped, scored, scores)


def _best_training(accuracies: Sequence[Sequence[Accuracies]], data: TrialData) -> int:
    """Return the position of the training with the best score over some tasks.

    Args:
        accuracies: those of each training on each task, by the name of the part.
        data: the data of the trial.
    """
    scores = [joint_scores(tasks, data)["score"] for tasks in accuracies]
    return scores.index(max(scores))


def _by_other_folds(
    trainings: Sequence[Sequence[Evaluation]],
    accuracies: Sequence[Sequence[Accuracies]],
    data: TrialData,
) -> list[Evaluation]:
    """Return the evaluation of each fold with the training that is best on the other folds."""
    scored = []
    for fold in range(len(trainings[0])):
        other_folds = [[*tasks[:fold], *tasks[fold + 1 :]] for tasks in accuracies]
        best = trainings[_best_training(other_folds, data)]
        scored.append(best[fold])
    return scored


def _by_other_half(trainings: Sequence[Evaluation], data: TrialData) -> Evaluation:
    """Return the evaluation of each half of the images with the best training of the other half.

    Images that cannot be divided are scored with the first training, which none of them chose.
    """
    first_half = [in_first_half(part) for part, _, _ in trainings[0].parts]
    for mask in first_half:
        if mask.all() or not mask.any():
            return trainings[0]
    second_half = [~mask for mask in first_half]
    best_on_first = _best_on(trainings, first_half, data)
    best_on_second = _best_on(trainings, second_half, data)
    return _combine(best_on_second, best_on_first, first_half, data)


def _best_on(
    trainings: Sequence[Evaluation], masks: Sequence[Tensor], data: TrialData
) -> Evaluation:
    """Return the evaluation that is best on some images of each part."""
    accuracies = []
    for evaluation in trainings:
        restricted = _restrict(evaluation, masks)
        accuracies.append([part_accuracies(restricted, data)])
    return trainings[_best_training(accuracies, data)]


def in_first_half(part: Part) -> Tensor:
    """Return whether each image is in the first of two halves, (images,) bool on the CPU.

    The images of a class are dealt in turn, in an order that depends on their paths alone. Classes
    begin in turn too, so that single images of classes go to both halves. A group goes to one half.
    """
    if has_groups(part.records):
        return torch.tensor(deal(part.records, (0.5, 0.5), HALVES_KEY)) == 0
    half_of = {}
    for turn, images in enumerate(ordered_records(part.records, HALVES_KEY).values()):
        for position, record in enumerate(images):
            half_of[record] = (position + turn) % 2
    halves = [half_of[record] for record in part.records]
    return torch.tensor(halves) == 0


def _restrict(evaluation: Evaluation, masks: Sequence[Tensor]) -> Evaluation:
    """Return an evaluation with some of the images of each part."""
    parts = []
    for (part, predicted, probabilities), mask in zip(evaluation.parts, masks, strict=True):
        pairs = zip(part.records, mask.tolist(), strict=True)
        records = tuple(record for record, is_included in pairs if is_included)
        parts.append((replace(part, records=records), predicted[mask], probabilities[:, mask]))
    return replace(evaluation, parts=parts, competing=[])


def _combine(
    one: Evaluation, other: Evaluation, masks: Sequence[Tensor], data: TrialData
) -> Evaluation:
    """Return an evaluation with the answers of one for some images, and of another for the rest.

    Args:
        one: the evaluation of the images whose mask is true.
        other: the evaluation of all other images.
        masks: the mask of each part, (images,) bool.
        data: the data of the trial.
    """
    parts = []
    masks_of_competing = []
    for (part, *answers), (_, *other_answers), mask in zip(
        one.parts, other.parts, masks, strict=True
    ):
        predicted, probabilities = _select(mask, answers, other_answers)
        parts.append((part, predicted, probabilities))
        if part.name not in data.targets:  # the names of a target do not compete
            masks_of_competing.append(mask)
    competing = []
    # An evaluation without competition has masks, but nothing to combine.
    for columns, other_columns, mask in zip(
        one.competing, other.competing, masks_of_competing, strict=False
    ):
        competing.append(tuple(_select(mask, columns, other_columns)))
    return replace(one, head=None, training=None, parts=parts, competing=competing)


def _select(mask: Tensor, some: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Return the values of some where the mask is true, and of others elsewhere."""
    return [torch.where(mask, *pair) for pair in zip(some, others, strict=True)]
