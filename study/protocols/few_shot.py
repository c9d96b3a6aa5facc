"""Protocols that train on all classes of a dataset, or on none: few-shot, transfer, zero-shot."""

from typing import ClassVar

from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import ALL, val_shots_per_class
from study.data.tasks import Scored, all_classes, holdout_tasks, image_fold_tasks
from study.protocols.protocol import PartAccuracies, Protocol, Report, Rule, Scores, Targets

HOLDOUT = Rule(
    "holdout",
    "on validation images of the same classes",
    holdout_tasks,
)
FOLDS = Rule(
    "folds",
    "by cross-validation over the training and validation images",
    image_fold_tasks,
    folds=4,
)


class FewShot(Protocol):
    """Learning from a few images of every class of one dataset."""

    name = "few_shot"
    sentence = (
        "Few-shot: a model is trained on a few images of every class. Its score is its accuracy on "
        "the test images of all classes."
    )
    rules: ClassVar[tuple[Rule, ...]] = (HOLDOUT, FOLDS)

    def scored(self, dataset: Dataset) -> Scored:
        """Return all classes as one part."""
        return all_classes(dataset)

    def score(self, parts: PartAccuracies) -> Scores:
        """Return the accuracy on all classes, which is the score."""
        return {**parts, "score": parts["accuracy"]}

    def automatic_rule(self, config: StudyConfig, seen: Dataset | Report) -> Rule:
        """Return folds if a class has at least as many images as there are folds, else holdout."""
        data = config.data
        if data.shots == ALL:
            return FOLDS
        images = data.shots + val_shots_per_class(data.shots, data.val_shots)
        folds = config.search.folds or FOLDS.folds
        return FOLDS if images >= folds else HOLDOUT


class Transfer(FewShot):
    """Learning from a few images of one dataset, the source, for other datasets."""

    name = "transfer"
    sentence = (
        "Transfer: a model is trained on a few images of every class of one dataset, the source. "
        "Its score is its mean accuracy on the test images of other datasets, each among its own "
        "class names. Only images of the source are used for selection."
    )
    ablates = False
    targets: ClassVar[Targets] = "needed"

    def score(self, parts: PartAccuracies) -> Scores:
        """Return the accuracy by dataset and their mean; without targets, that of the source.

        The mean is over the targets, and over the source as well if nothing is trained on it.
        """
        if parts.keys() == {"accuracy"}:
            return super().score(parts)
        names = {"accuracy": "source"}
        by_dataset = {names.get(part, part): accuracy for part, accuracy in parts.items()}
        averaged = [
            accuracy for part, accuracy in parts.items() if part != "accuracy" or not self.trains
        ]
        by_dataset["score"] = sum(averaged) / len(averaged)
        return by_dataset


class ZeroShot(Transfer):
    """Testing the untuned backbone."""

    name = "zero_shot"
    sentence = (
        "Zero-shot: nothing is trained. The score is the accuracy of the untuned backbone on all "
        "test images; with several datasets, the mean over them."
    )
    trains = False
    targets = "allowed"
    rules = ()
