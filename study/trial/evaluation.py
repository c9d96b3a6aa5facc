"""The evaluation of trained models: the classes given to images, predictions and scores."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from study.config.trial_settings import Head as HeadName
from study.data.records import result_names
from study.data.tasks import Part
from study.method.head import Head
from study.method.model import (
    FewShotClassifier,
    accuracy,
    class_accuracies,
    classify,
)
from study.protocols.protocol import Scores
from study.trial.predictions import mean
from study.trial.study import Prediction, TrialData

ClassIds = Sequence[int]
"""The ids of classes in their dataset."""


@dataclass(frozen=True)
class PartFeatures:
    """The features that a model computes of the images and classes of a part."""

    part: Part
    names: ClassIds
    """The class in training of each class of the part; −1 where there is none."""
    images: Sequence[Tensor]
    """The features of the images in batches, (batch, dim) float32."""
    text: Tensor
    """The text features of the classes, (classes, dim) float32."""


class EvaluatedPart(NamedTuple):
    """The result of a model on one part."""

    part: Part
    predicted: Tensor
    """The predicted class ids, (images,) int64."""
    probabilities: Tensor
    """The probabilities of these and of the images' own classes, (2, images) float32."""


@dataclass
class Evaluation:
    """The result of one model with one head on its evaluation images."""

    head: Head | None
    """The linear head; None means that the text features classify."""
    parts: list[EvaluatedPart] = field(default_factory=list)

    def classify_part(self, classifier: FewShotClassifier, features: PartFeatures) -> None:
        """Classify the images of a part, and add the result.

        Args:
            classifier: the model.
            features: its features of the part.
        """
        part, text = features.part, features.text
        if self.head is not None:
            text = self.head.replace_in(text, features.names)
        labels = _labels_of(part)
        classes = torch.tensor(part.classes)
        columns = (labels[:, None] == classes).int().argmax(dim=1)
        rows, probabilities = classify(classifier, features.images, text, columns)
        self.parts.append(EvaluatedPart(part, classes[rows], probabilities))

    def predictions(self, data: TrialData, fold: int) -> list[Prediction]:
        """Return the prediction of every evaluated image, by the model of a fold."""
        head: HeadName = "text" if self.head is None else "linear"
        rows = []
        for part, predicted, (probability, of_label) in self.parts:
            names = result_names(data.targets.get(part.name, data.own_target).class_names)
            of_labels = of_label.tolist() if data.split == "val" else [None] * len(of_label)
            values = zip(
                part.records, predicted.tolist(), probability.tolist(), of_labels, strict=True
            )
            for record, class_id, of_predicted, of_true in values:
                rows.append(
                    Prediction(
                        head=head,
                        part=part.name,
                        path=record.path,
                        label=names[record.label],
                        predicted=names[class_id],
                        probability=of_predicted,
                        true_probability=of_true,
                        group=record.group,
                        fold=fold,
                    )
                )
        return rows


Evaluations = Sequence[Evaluation]
"""The evaluations of the models of all tasks, with one of their heads."""


def _labels_of(part: Part) -> Tensor:
    """Return the class of each image of a part, (images,) int64."""
    return torch.tensor([record.label for record in part.records])


Accuracies = Mapping[tuple[str, int], float]
"""Fractions by the name of a part and a class; `ALL_CLASSES` stands for its images of any class."""
ALL_CLASSES = -1


def part_accuracies(evaluation: Evaluation, data: TrialData) -> Accuracies:
    """Return the accuracies of a model: of each part, or of each class where these count alike.

    Args:
        evaluation: the evaluation of the model.
        data: the data of the trial.
    """
    values = {}
    for part, predicted, _ in evaluation.parts:
        labels = _labels_of(part)
        of_part = {ALL_CLASSES: accuracy(predicted, labels)}
        if data.protocol.class_averaged:
            of_part = class_accuracies(predicted, labels)
        values.update({(part.name, label): value for label, value in of_part.items()})
    return values


def joint_scores(tasks: Iterable[Accuracies], data: TrialData) -> Scores:
    """Return the protocol's scores of the models of some tasks, as fractions.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.
    Classes that count alike are averaged after the tasks, as a small class is not in every fold.

    Args:
        tasks: the result of `part_accuracies` for the model of each task.
        data: the data of the trial.
    """
    over_tasks = defaultdict(list)
    for values in tasks:
        for key, value in values.items():
            over_tasks[key].append(value)
    of_part = defaultdict(list)
    for (name, _), accuracies in over_tasks.items():
        of_part[name].append(mean(accuracies))
    return data.protocol.score({name: mean(values) for name, values in of_part.items()})


def trial_scores(evaluations: Evaluations, data: TrialData) -> Scores:
    """Return the scores of the models of all tasks, as fractions; none if no image is evaluated."""
    if not any(evaluation.parts for evaluation in evaluations):
        return {}
    return joint_scores([part_accuracies(one, data) for one in evaluations], data)
