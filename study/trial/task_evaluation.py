"""The evaluation of one task's model: heads trained on its features, and what images are taken for.

`study.trial.evaluation` scores what this returns.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from study.config.trial_settings import TrialSettings
from study.data.tasks import Part
from study.method.head import DEFAULT, GRID, VIEWS, Head, HeadTraining, train_heads
from study.method.model import at_strength, classify, compete
from study.trial.evaluation import Evaluation
from study.trial.study import TrialData
from study.trial.task_model import TaskModel

Trainings = tuple[HeadTraining, ...]
"""The ways to train the linear head of a use; none if it has none."""


@torch.no_grad()
def evaluate_task(model: TaskModel, uses: Sequence[TrialSettings]) -> list[list[Evaluation]]:
    """Classify the evaluation images of a task by its model, used in each way.

    What uses of equal strength share, such as the features of images, is computed once.

    Args:
        model: the model, as trained so far.
        uses: settings of its training, each with another strength, head or calibration.

    Returns:
        The evaluations of each use: one, or one for each way to train its linear head.
    """
    evaluations: dict[TrialSettings, list[Evaluation]] = {}
    for strength in dict.fromkeys(use.strength for use in uses):
        alike = [use for use in uses if use.strength == strength]
        with at_strength(model.classifier.tuned, strength):
            evaluations |= _begin(model, alike)
            at_this_strength = [one for use in alike for one in evaluations[use]]
            for part in model.task.evaluations:
                _evaluate(model, part, at_this_strength)
    return [evaluations[use] for use in uses]


def _begin(
    model: TaskModel, uses: Sequence[TrialSettings]
) -> dict[TrialSettings, list[Evaluation]]:
    """Return the evaluations of some uses of the model as it is now, still without images."""
    known = frozenset(model.task.train.classes)
    trainings = {use: head_trainings(use, model.data) for use in uses}
    heads = _train_heads(model, trainings.values())
    begun = {}
    for use, its_trainings in trainings.items():
        pairs: Sequence[tuple[Head | None, HeadTraining | None]] = [(None, None)]
        if its_trainings:
            pairs = heads[its_trainings]
        begun[use] = [
            Evaluation(head, training, known, calibration=use.calibration)
            for head, training in pairs
        ]
    return begun


def _evaluate(model: TaskModel, part: Part, evaluations: Sequence[Evaluation]) -> None:
    """Add to each evaluation what the images of a part are taken for."""
    is_target = part.name in model.data.targets
    class_ids = torch.tensor(part.classes)
    paths = [record.path for record in part.records]
    features = [*model.image_features(model.data.target(part.name).images, paths)]
    text = model.text_features(part, part.classes)
    for one in evaluations:
        rows, probabilities = classify(
            model.classifier,
            features,
            _rows_of(one, text, _by_name(model, part)),
            0.0 if is_target else _calibration(model, one, part.classes),
        )
        one.parts.append((part, class_ids[rows], probabilities))
    competing = _competing(model)
    if competing and not is_target:
        labels = torch.tensor([record.label for record in part.records])
        class_ids = torch.tensor(competing)
        text = model.text_features(part, competing)
        for one in evaluations:
            trained, other, gap = compete(
                model.classifier,
                features,
                _rows_of(one, text, competing),
                _trained(model, competing),
            )
            one.competing.append((labels, class_ids[trained], class_ids[other], gap))


def _rows_of(one: Evaluation, text: Tensor, classes: Sequence[int]) -> Tensor:
    """Return what classifies, (classes, dim): the text features, with the rows of a head if any."""
    return text if one.head is None else one.head.replace_in(text, classes)


def _by_name(model: TaskModel, part: Part) -> Sequence[int]:
    """Return the ids of a part's classes in training; −1 for one of a target that has no other.

    The ids of a target mean other classes, of which those of equal names are the same.
    """
    data = model.data
    if part.name not in data.targets:
        return part.classes
    ids = {data.class_names[label]: label for label in model.task.train.classes}
    names = data.target(part.name).class_names
    return [ids.get(names[label], -1) for label in part.classes]


def _train_heads(
    model: TaskModel, wanted: Collection[Trainings]
) -> dict[Trainings, list[tuple[Head, HeadTraining]]]:
    """Train heads in each of several ways, on features of the model as it is now."""
    distinct = [*dict.fromkeys(trainings for trainings in wanted if trainings)]
    if not distinct:
        return {}
    classes = model.task.train.classes
    text = model.text_features(model.task.train, classes)
    features = _training_features(model)
    labels = model.labels.repeat(len(features) // len(model.labels))
    scale = model.classifier.clip.logit_scale.exp().item()
    heads = {}
    for trainings in distinct:
        trained = train_heads(features, labels, text, scale, trainings)
        heads[trainings] = [
            (Head(rows, classes), training)
            for rows, training in zip(trained, trainings, strict=True)
        ]
    return heads


def _training_features(model: TaskModel) -> Tensor:
    """Return the features of the training images, (images, dim), or of several views of each."""
    if not model.data.augment:
        return torch.cat([*model.image_features(model.data.train_images, model.paths)])
    views = torch.Generator().manual_seed(model.seed)
    paths = model.paths * VIEWS
    features = []
    for at in range(0, len(paths), model.images_at_once):
        images = model.augmented(paths[at : at + model.images_at_once], views)
        features.append(model.staged.encode_image(images))
    return torch.cat(features)


def _trained(model: TaskModel, classes: Sequence[int]) -> Tensor:
    """Return whether each class is trained, (classes,) bool on the CPU."""
    return torch.tensor([label in model.task.train.classes for label in classes])


def _calibration(model: TaskModel, one: Evaluation, classes: Sequence[int]) -> Tensor | float:
    """Return what is taken from the logits of classes, where trained ones and others compete.

    (classes,) float32.
    """
    trained = _trained(model, classes)
    if not one.calibration or trained.all():
        return 0.0
    return (one.calibration * trained).to(model.classifier.device)


def _competing(model: TaskModel) -> tuple[int, ...]:
    """Return the classes of all parts, if trained ones and others are to compete; else none."""
    labels: set[int] = set()
    for part in model.task.evaluations:
        if part.name not in model.data.targets:
            labels.update(part.classes)
    others = labels - {*model.task.train.classes}
    return tuple(sorted(labels)) if others and model.data.protocol.competes else ()


def head_trainings(use: TrialSettings, data: TrialData) -> Trainings:
    """Return the ways to train the linear head of a use; none if it has none."""
    lr, steps = use.head_lr, use.head_steps
    if use.head == "text":
        return ()
    if lr is not None and steps is not None:
        return (HeadTraining(lr, steps),)
    return GRID if data.split == "val" else (DEFAULT,)
