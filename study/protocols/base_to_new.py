"""Base to new: half of the classes are trained, and all are tested, in two halves."""

import logging
from collections.abc import Mapping, Sequence

from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.data.shots import Shots
from study.data.tasks import (
    FEWEST_CLASSES_FOR_FOLDS,
    Scored,
    Task,
    class_fold_tasks,
    class_halves,
    holdout_tasks,
)
from study.errors import DataError
from study.protocols.protocol import Protocol, Rule

logger = logging.getLogger(__name__)

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
