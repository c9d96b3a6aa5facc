"""The protocols that come with this package: few-shot, base to new, transfer and zero-shot."""

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar

from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import Shots, wanted_val_shots
from study.data.tasks import (
    FEWEST_CLASSES_FOR_FOLDS,
    Scored,
    Task,
    all_classes,
    class_fold_tasks,
    class_halves,
    holdout_tasks,
    image_fold_tasks,
)
from study.errors import DataError
from study.protocols.protocol import Protocol, Rule, Targets

logger = logging.getLogger(__name__)

HOLDOUT = Rule(
    "holdout",
    "on validation images of the same classes, drawn beside the training images",
    holdout_tasks,
)
FOLDS = Rule(
    "folds",
    "by cross-validation over the training and validation images",
    image_fold_tasks,
    folds=4,
)
CLASS_FOLDS = Rule(
    "class_folds",
    "by leaving out base classes in turn: on held-out images of the kept ones, and on the left-out "
    "ones as stand-ins for new classes",
    class_fold_tasks,
    folds=3,
)
BASE = Rule(
    "base",
    "on validation images of the base classes alone, which tells little of new classes: the choice "
    "is weak",
    holdout_tasks,
)


class FewShot(Protocol):
    """Learning from a few images of every class of one dataset."""

    name = "few_shot"
    sentence = (
        "Few-shot: a model learns from a few images of every class, and is scored by its "
        "accuracy on the test images of all classes."
    )
    rules: ClassVar[tuple[Rule, ...]] = (HOLDOUT, FOLDS)

    def scored(self, dataset: Dataset) -> Scored:
        """Return all classes as one part."""
        return all_classes(dataset)

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracy on all classes, which is the score."""
        return {**parts, "score": parts["accuracy"]}

    def automatic_rule_used(self, config: StudyConfig, report: Mapping[str, float | None]) -> Rule:
        """Return folds if a class has at least as many images as there are folds, else holdout."""
        shots = config.data.shots
        images = shots + wanted_val_shots(shots, config.data.val_shots)
        return FOLDS if images >= (config.search.folds or FOLDS.folds) else HOLDOUT


class Transfer(FewShot):
    """Learning from a few images of one dataset, the source, for other datasets."""

    name = "transfer"
    sentence = (
        "Transfer: a model learns from a few images of every class of one dataset, the "
        "source, and is scored by its mean accuracy on the test images of other datasets, each "
        "with the names of its own classes. Whatever is chosen is chosen on the source."
    )
    ablates = False
    targets: ClassVar[Targets] = "needed"
    counts_source: ClassVar[bool] = False
    """Whether the score is the mean over all datasets, and not over the targets alone."""

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracy by dataset and their mean; without targets, that of the source."""
        if parts.keys() == {"accuracy"}:
            return super().score(parts)
        named = {"source" if part == "accuracy" else part: parts[part] for part in parts}
        counted = [v for name, v in named.items() if self.counts_source or name != "source"]
        return {**named, "score": sum(counted) / len(counted)}


class ZeroShot(Transfer):
    """Testing the backbone as it is."""

    name = "zero_shot"
    sentence = (
        "Zero-shot: nothing is trained; the backbone is scored as it is by its accuracy "
        "on all test images, the mean over the datasets where there are several."
    )
    trains = False
    targets = "allowed"
    counts_source = True
    rules = ()


def hmean(base: float, new: float) -> float:
    """Return the harmonic mean of two accuracies; 0 if both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


class BaseToNew(Protocol):
    """Learning from a few images of the base classes, for classes that were never seen as well."""

    name = "base_to_new"
    sentence = (
        "Base to new: a model learns from a few images of the first half of the classes "
        "(base). It is scored by the harmonic mean of its accuracy on test images of those and of "
        "the other half (new), of which it never saw an image."
    )
    metric = "hmean"
    parts = ("base", "new")
    rules = (CLASS_FOLDS, BASE)

    def scored(self, dataset: Dataset) -> Scored:
        """Return the base and the new classes, each to be classified among their own names."""
        base, new = class_halves(record.label for record in dataset.train)
        return {"base": base, "new": new}

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return both accuracies and their harmonic mean; the base accuracy if there is no new."""
        if "new" not in parts:
            return {**parts, "score": parts["base"]}
        mean = hmean(parts["base"], parts["new"])
        return {**parts, "hmean": mean, "score": mean}

    def automatic_rule(self, config: StudyConfig, dataset: Dataset) -> Rule:
        """Return class folds if there are enough base classes, else the weak rule, and warn."""
        base = self.scored(dataset)["base"]
        if len(base) >= FEWEST_CLASSES_FOR_FOLDS:
            return CLASS_FOLDS
        logger.warning(
            "%s has %d base classes: too few for class folds (%d), so trials are judged on base "
            "classes alone and the choice is weak",
            dataset.name,
            len(base),
            FEWEST_CLASSES_FOR_FOLDS,
        )
        return BASE

    def automatic_rule_used(self, config: StudyConfig, report: Mapping[str, float | None]) -> Rule:
        """Return class folds if trials were scored on left-out classes."""
        return CLASS_FOLDS if report.get("val_new") is not None else BASE

    def confirm_task(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test.

        Raises:
            DataError: there are no new classes; see also `study.data.tasks.confirm_task`.
        """
        if not self.scored(dataset)["new"]:
            raise DataError(f"{dataset.name}: {self.name} needs a training split of 2 classes")
        return super().confirm_task(dataset, shots, targets)
