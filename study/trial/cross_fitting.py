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

import numpy as np
import torch
from torch import Tensor

from study.data.splits import deal_in_turn
from study.data.tasks import Part
from study.protocols.competition import Competitors
from study.trial.evaluation import (
    Accuracies,
    Evaluation,
    Evaluations,
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

    shipped: Evaluations
    """The evaluations with the training that is best on all images, one per task."""
    scored: Evaluations
    """The evaluations that the score is computed from, one per task."""
    scores: Mapping[str, float]
    """The scores of the trial by name, as fractions."""


def choose_head(evaluated: Sequence[Evaluations], data: TrialData) -> HeadChoice:
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
    scored = []
    if len(evaluated) == 1:
        scored.append(_by_other_half(evaluated[0], data))
    else:
        for fold in range(len(evaluated)):
            other_folds = [[*tasks[:fold], *tasks[fold + 1 :]] for tasks in accuracies]
            scored.append(trainings[_best_training(other_folds, data)][fold])
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


def _by_other_half(trainings: Evaluations, data: TrialData) -> Evaluation:
    """Return the evaluation of each half of the images with the best training of the other half.

    Images that cannot be divided are scored with the first training, which none of them chose.
    """
    first_half = [in_first_half(one.part) for one in trainings[0].parts]
    for mask in first_half:
        if mask.all() or not mask.any():
            return trainings[0]
    second_half = [~mask for mask in first_half]
    # The images of the first half have the answers of one, and the others those of the other.
    one = _best_on(trainings, second_half, data)
    other = _best_on(trainings, first_half, data)
    parts = []
    for some, others, mask in zip(one.parts, other.parts, first_half, strict=True):
        competing = None
        if some.competing and others.competing:
            pairs = zip(some.competing, others.competing, strict=True)
            competing = Competitors(*(np.where(mask.numpy(), *pair) for pair in pairs))
        combined = some._replace(
            predicted=torch.where(mask, some.predicted, others.predicted),
            probabilities=torch.where(mask, some.probabilities, others.probabilities),
            competing=competing,
        )
        parts.append(combined)
    return replace(one, head=None, training=None, parts=parts)


def _best_on(trainings: Evaluations, masks: Sequence[Tensor], data: TrialData) -> Evaluation:
    """Return the evaluation that is best on some images of each part."""
    accuracies = [[part_accuracies(evaluation, data, masks)] for evaluation in trainings]
    return trainings[_best_training(accuracies, data)]


def in_first_half(part: Part) -> Tensor:
    """Return whether each image is in the first of two halves, (images,) bool on the CPU.

    The halves depend on the paths of the images alone, see `deal_in_turn`.
    """
    half_of = deal_in_turn(part.records, 2, HALVES_KEY)
    return torch.tensor([half_of[record] == 0 for record in part.records])
