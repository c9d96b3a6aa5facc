"""What trained models come to on their evaluation images: answers, predictions, scores."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from study.data.tasks import Part
from study.method.head import Head, HeadTraining
from study.method.model import FewShotClassifier, accuracy, class_accuracy, classify, compete
from study.protocols.competition import Competition
from study.trial.predictions import mean
from study.trial.study import Prediction, TrialData


@dataclass(frozen=True)
class PartFeatures:
    """What a model makes of the images and classes of a part."""

    part: Part
    is_target: bool
    """Whether the part is of a further dataset, whose classes are others than those in training."""
    names: Sequence[int]
    """The class in training of each class of the part; −1 where there is none."""
    images: Sequence[Tensor]
    """The features of the images in batches, (batch, dim) float32."""
    text: Tensor
    """The text features of the classes, (classes, dim) float32."""
    rivals: Sequence[int]
    """All classes, trained and other ones, that compete for images of the model's own dataset."""
    rivals_text: Tensor | None
    """The text features of the rivals, (rivals, dim) float32; None if they do not compete here."""


@dataclass
class Evaluation:
    """What one model comes to with one head."""

    head: Head | None
    """The head; None means that the text features classify."""
    training: HeadTraining | None
    """How the head was trained."""
    trained: frozenset[int]
    """The classes that the model was trained on."""
    parts: list[tuple[Part, Tensor, Tensor]] = field(default_factory=list)
    """Each part with the class id, (images,) int64, and probability, (images,) float32, that each
    of its images is given."""
    competing: list[tuple[Tensor, ...]] = field(default_factory=list)
    """Of each part whose names compete: labels, best trained and best other class, and gap; each
    (images,)."""
    calibration: float = 0.0
    """γ, what is taken from the logits of trained classes where they compete with others."""

    def answer(self, classifier: FewShotClassifier, features: PartFeatures) -> None:
        """Add what the images of a part are taken for.

        Args:
            classifier: the model.
            features: what it makes of them.
        """
        part, text, rivals_text = features.part, features.text, features.rivals_text
        if self.head is not None:
            text = self.head.replace_in(text, features.names)
            if rivals_text is not None:
                rivals_text = self.head.replace_in(rivals_text, features.rivals)
        trained = self._seen(torch.tensor(part.classes))
        taken: Tensor | float = 0.0
        if self.calibration and not features.is_target and not trained.all():
            taken = (self.calibration * trained).to(text.device)
        rows, probabilities = classify(classifier, features.images, text, taken)
        self.parts.append((part, torch.tensor(part.classes)[rows], probabilities))
        if rivals_text is not None:
            rivals = torch.tensor(features.rivals)
            labels = torch.tensor([record.label for record in part.records])
            best, other, gap = compete(classifier, features.images, rivals_text, self._seen(rivals))
            self.competing.append((labels, rivals[best], rivals[other], gap))

    @property
    def competition(self) -> Competition:
        """All images whose names compete."""
        labels, trained, other, gap = (torch.cat(c) for c in zip(*self.competing, strict=True))
        seen = self._seen(labels)
        own, others = (
            (gap[s], p[s] == labels[s], labels[s]) for s, p in ((seen, trained), (~seen, other))
        )
        return Competition(*(column.numpy() for column in (*own, *others)))

    def of_kind(
        self, labels: Tensor, trained: Tensor, other: Tensor, gap: Tensor
    ) -> tuple[list[bool], list[float]]:
        """Return whether the best name of each image's own kind is right, and its gap.

        Args:
            labels: one of `competing`, as what follows it.
            trained: the best of the trained classes.
            other: the best of the others.
            gap: what the first is ahead of the second.
        """
        right = torch.where(self._seen(labels), trained, other) == labels
        return right.tolist(), gap.tolist()

    def _seen(self, labels: Tensor) -> Tensor:
        """Return whether each class was trained on, (images,) bool."""
        return torch.tensor([label in self.trained for label in labels.tolist()])


def accuracies(one: Evaluation, data: TrialData) -> dict[str, float]:
    """Return the accuracy of a model on each part of its images, by name, as a fraction."""
    measure = class_accuracy if data.protocol.class_averaged else accuracy
    values = {}
    for part, predicted, _ in one.parts:
        labels = torch.tensor([record.label for record in part.records])
        values[part.name] = measure(predicted, labels)
    return values


def joint_scores(tasks: Iterable[Mapping[str, float]], data: TrialData) -> dict[str, float]:
    """Return the protocol's scores of the models of some tasks, as fractions.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.

    Args:
        tasks: what `accuracies` returns of the model of each task.
        data: the data of the trial.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    for values in tasks:
        for name, value in values.items():
            parts[name].append(value)
    return data.protocol.score({name: mean(values) for name, values in parts.items()})


def scores(found: Sequence[Evaluation], data: TrialData) -> dict[str, float]:
    """Return the scores of the models of all tasks, as fractions, with those beside them."""
    own = joint_scores([accuracies(one, data) for one in found], data)
    if not all(one.competing for one in found):
        return own
    competitions = [one.competition for one in found]
    return {**own, **data.protocol.beside(competitions, validation=data.split == "val")}


def fold_scores(found: Sequence[Evaluation], data: TrialData) -> tuple[float, ...]:
    """Return the score of each task's model alone; empty where there is one task."""
    return tuple(scores([one], data)["score"] for one in found) if len(found) > 1 else ()


def predictions(found: Iterable[Evaluation], data: TrialData) -> list[Prediction]:
    """Return the prediction of every evaluated image, over all tasks."""
    rows = []
    for one in found:
        competing = iter(one.competing)  # of the parts without those of targets
        for part, predicted, probabilities in one.parts:
            names = data.target(part.name).class_names
            own = None if part.name in data.targets else next(competing, None)
            columns = [predicted.tolist(), probabilities.tolist()]
            columns += one.of_kind(*own) if own else ()
            rows += [
                Prediction(part.name, record.path, names[record.label], names[class_id], *rest)
                for record, class_id, *rest in zip(part.records, *columns, strict=True)
            ]
    return rows
