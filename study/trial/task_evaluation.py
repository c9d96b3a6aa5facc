"""The evaluation of one task's model: its linear heads, and the classes it gives to images.

Each use of the model asks for heads of its own, which are trained on its features.

`study.trial.evaluation` scores what this returns.
"""

from collections.abc import Iterable, Sequence

import torch

from study.config.trial_settings import TrialSettings
from study.data.tasks import Classes, Task
from study.method.balance import class_balance
from study.method.head import DEFAULT, GRID, Head, HeadTraining, train_heads
from study.method.model import apply_strength
from study.trial.evaluation import Evaluation
from study.trial.study import TrialData
from study.trial.task_features import encode_part, labels_of, text_features, training_features
from study.trial.task_model import TaskModel

Trainings = tuple[HeadTraining, ...]
"""The ways to train the linear head of a use; none if its text features classify."""
UseHeads = Sequence[tuple[Head | None, HeadTraining | None]]
"""The heads of a use, with their trainings; None twice where text classifies."""


@torch.no_grad()
def evaluate_task(model: TaskModel, uses: Sequence[TrialSettings]) -> list[list[Evaluation]]:
    """Classify the evaluation images of a model's task by each use of the model.

    Uses of equal strength share the features of images, which are computed once.

    Args:
        model: the model, as trained so far.
        uses: settings of the training, each with another strength, head or calibration.

    Returns:
        The evaluations of each use: one, or one for each way to train its linear head.
    """
    task = model.task
    trained = frozenset(task.train.classes)
    rivals = rival_classes(task, model.data)
    trainings = {use: head_trainings(use, model.data) for use in uses}
    evaluations = {}
    for strength in dict.fromkeys(use.strength for use in uses):
        of_strength = [use for use in uses if use.strength == strength]
        with apply_strength(model.classifier.tuned, strength):
            heads = train_task_heads(model, [trainings[use] for use in of_strength])
            for use in of_strength:
                evaluations[use] = [
                    Evaluation(head, training, trained, calibration=use.calibration)
                    for head, training in heads[trainings[use]]
                ]
            for part in task.evaluations:
                features = encode_part(model, part, rivals)
                for use in of_strength:
                    for evaluation in evaluations[use]:
                        evaluation.classify_part(model.classifier, features)
    return [evaluations[use] for use in uses]


def rival_classes(task: Task, data: TrialData) -> Classes:
    """Return the classes of all parts if trained and other classes compete, else no class."""
    labels: set[int] = set()
    for part in task.evaluations:
        if part.name not in data.targets:
            labels.update(part.classes)
    others = labels - set(task.train.classes)
    if not others or not data.protocol.competes:
        return ()
    return tuple(sorted(labels))


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
def train_task_heads(
    model: TaskModel, trainings_of_uses: Iterable[Trainings]
) -> dict[Trainings, UseHeads]:
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
