"""The linear heads of one task's model, trained on its features as each use of it asks."""

from collections.abc import Iterable, Mapping, Sequence

import torch

from study.config.trial_settings import TrialSettings
from study.method.balance import class_balance
from study.method.head import DEFAULT, GRID, Head, HeadTraining, train_heads
from study.trial.study import TrialData
from study.trial.task_features import labels_of, text_features, training_features
from study.trial.task_model import TaskModel

Trainings = tuple[HeadTraining, ...]
"""The ways to train the linear head of a use; none if its text features classify."""
UseHeads = Sequence[tuple[Head | None, HeadTraining | None]]
"""The heads of a use, with their trainings; None twice where text classifies."""
TrainedHeads = Mapping[Trainings, UseHeads]
"""The heads of each of several uses."""


def head_trainings(use: TrialSettings, data: TrialData) -> Trainings:
    """Return the ways to train the linear head of a use."""
    lr = use.head_lr
    steps = use.head_steps
    if use.head == "text":
        return ()
    if lr is not None and steps is not None:
        return (HeadTraining(lr, steps),)
    if data.split == "val":
        return GRID
    return (DEFAULT,)


@torch.no_grad()
def train_task_heads(model: TaskModel, trainings_of_uses: Iterable[Trainings]) -> TrainedHeads:
    """Train heads in each of several ways, on features of the model as trained so far.

    Args:
        model: the model.
        trainings_of_uses: the ways of each use.
    """
    heads: dict[Trainings, UseHeads] = {(): [(None, None)]}
    distinct = [trainings for trainings in dict.fromkeys(trainings_of_uses) if trainings]
    if not distinct:
        return heads
    train = model.task.train
    text = text_features(model, model.data.own_target, train.classes)
    features = training_features(model)
    labels = labels_of(train).to(features.device)
    labels = labels.repeat(len(features) // len(labels))
    scale = model.classifier.clip.logit_scale.exp().item()
    balance = class_balance(model.config.training.balance, labels, len(train.classes))
    for trainings in distinct:
        trained = train_heads(features, labels, text, scale, trainings, balance)
        heads[trainings] = [
            (Head(rows, train.classes), training)
            for rows, training in zip(trained, trainings, strict=True)
        ]
    return heads
