"""The choice among the trainings of a head, and the score of a trial that makes it.

The best of several trainings on some images scores higher on them than on others, by the choice
alone, and a trial whose text features classify makes no such choice. So that both compete fairly,
no image is scored with a training that it had a part in choosing:

- Of several folds, each is scored with the training that is best on the others.
- Validation images without folds are divided into two halves, class by class, and each half is
  scored with the training that is best on the other.

What ships is the training that is best on all images. Source: Varma and Simon 2006, "Bias in error
estimation when using cross-validation for model selection".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from study.data.records import ordered_paths
from study.data.tasks import Part
from study.trial.evaluation import Evaluation, accuracies, joint_scores, scores
from study.trial.study import TrialData

HALVES_KEY = "halves of the validation images"
"""What the order of images depends on, beside their paths, in which they are dealt to halves."""


@dataclass(frozen=True)
class HeadChoice:
    """Which training of a head ships, and what its trial is scored by."""

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
    values = [[accuracies(one, data) for one in tasks] for tasks in trainings]
    shipped = trainings[_best(values, data)]
    if len(trainings) == 1:
        return HeadChoice(shipped, shipped, scores(shipped, data))
    if len(evaluated) > 1:
        scored = _by_other_folds(trainings, values, data)
    else:
        scored = [_by_other_half([tasks[0] for tasks in trainings], data)]
    return HeadChoice(shipped, scored, _with_shipped(scores(scored, data), shipped, data))


def _with_shipped(
    cross_fitted: Mapping[str, float], shipped: Sequence[Evaluation], data: TrialData
) -> dict[str, float]:
    """Return scores with those of the head that ships in place of what sets how it is used."""
    names = cross_fitted.keys() & set(data.protocol.beside_shipped)
    if not names:
        return dict(cross_fitted)
    ships = scores(shipped, data)
    return {**cross_fitted, **{name: ships[name] for name in names}}


def _best(values: Sequence[Sequence[Mapping[str, float]]], data: TrialData) -> int:
    """Return the place of the training with the best score over some tasks.

    Args:
        values: the accuracies of each training on each task, by the name of the part.
        data: the data of the trial.
    """
    ranked = [joint_scores(tasks, data)["score"] for tasks in values]
    return max(range(len(ranked)), key=ranked.__getitem__)


def _by_other_folds(
    trainings: Sequence[Sequence[Evaluation]],
    values: Sequence[Sequence[Mapping[str, float]]],
    data: TrialData,
) -> list[Evaluation]:
    """Return the evaluation of each fold with the training that is best on the other folds."""
    scored = []
    for fold in range(len(trainings[0])):
        others = [[*tasks[:fold], *tasks[fold + 1 :]] for tasks in values]
        scored.append(trainings[_best(others, data)][fold])
    return scored


def _by_other_half(trainings: Sequence[Evaluation], data: TrialData) -> Evaluation:
    """Return the evaluation of each half of the images with the best training of the other half.

    Images that cannot be divided are scored with the first training, which none of them chose.
    """
    first = [in_first_half(part) for part, _, _ in trainings[0].parts]
    for mask in first:
        if mask.all() or not mask.any():
            return trainings[0]
    second = [~mask for mask in first]
    chosen_on = []
    for masks in (first, second):
        values = [[accuracies(_restricted(one, masks), data)] for one in trainings]
        chosen_on.append(trainings[_best(values, data)])
    return _joined(chosen_on[1], chosen_on[0], first, data)


def in_first_half(part: Part) -> Tensor:
    """Return whether each image is in the first of two halves, (images,) bool on the CPU.

    The images of a class are dealt in turn, in an order that depends on their paths alone. Classes
    begin in turn too, so that single images of classes go to both halves.
    """
    half_of = {}
    for turn, (label, paths) in enumerate(ordered_paths(part.records, HALVES_KEY).items()):
        for position, path in enumerate(paths):
            half_of[path, label] = (position + turn) % 2
    halves = [half_of[record.path, record.label] for record in part.records]
    return torch.tensor(halves) == 0


def _restricted(one: Evaluation, masks: Sequence[Tensor]) -> Evaluation:
    """Return the parts of an evaluation with some of their images."""
    parts = []
    for (part, predicted, probabilities), mask in zip(one.parts, masks, strict=True):
        kept = [record for record, is_kept in zip(part.records, mask, strict=True) if is_kept]
        some = replace(part, records=tuple(kept))
        parts.append((some, predicted[mask], probabilities[mask]))
    return replace(one, parts=parts, competing=[])


def _joined(
    one: Evaluation, other: Evaluation, masks: Sequence[Tensor], data: TrialData
) -> Evaluation:
    """Return an evaluation with the answers of one for some images, and of another for the rest."""
    parts = []
    for (part, *some), (_, *others), mask in zip(one.parts, other.parts, masks, strict=True):
        predicted, probabilities = _where(mask, some, others)
        parts.append((part, predicted, probabilities))
    # Names of a target do not compete.
    own = [
        mask for (part, *_), mask in zip(parts, masks, strict=True) if part.name not in data.targets
    ]
    competing = []
    for known, others_known, mask in zip(one.competing, other.competing, own, strict=False):
        competing.append(tuple(_where(mask, known, others_known)))
    return replace(one, head=None, training=None, parts=parts, competing=competing)


def _where(mask: Tensor, some: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    return [torch.where(mask, *pair) for pair in zip(some, others, strict=True)]
