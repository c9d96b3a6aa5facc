"""Protocols that train on half of the classes, for all of them: base to new, and generalized."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

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
from study.protocols.protocol import PartAccuracies, Protocol, Report, Rule, Scores

logger = logging.getLogger(__name__)

CLASS_FOLDS = Rule(
    "class_folds",
    "by leaving out some base classes at a time, on held-out images of the other base classes and "
    "on the classes left out, which stand for new classes",
    class_fold_tasks,
    folds=3,
)
BASE = Rule(
    "base",
    "on validation images of the base classes only, which predict the accuracy on new classes "
    "poorly",
    holdout_tasks,
)


def hmean(base: float, new: float) -> float:
    """Return the harmonic mean of two accuracies; 0 if both are 0."""
    total = base + new
    if total == 0:
        return 0.0
    return 2 * base * new / total


class BaseToNew(Protocol):
    """Learning from a few images of the base classes, for classes that were never seen as well."""

    name = "base_to_new"
    sentence = (
        "Base to new: a model is trained on a few images of the first half of the classes (base). "
        "Its score is the harmonic mean of its test accuracies on these classes and on the other "
        "half (new), each among its own class names. It is never trained on images of new classes."
    )
    metric = "hmean"
    parts = ("base", "new")
    rules = (CLASS_FOLDS, BASE)
    alpha = 0.75

    def scored(self, dataset: Dataset) -> Scored:
        """Return the base and the new classes; each half is classified among its own names."""
        base, new = class_halves(record.label for record in dataset.train)
        return {"base": base, "new": new}

    def score(self, parts: PartAccuracies) -> Scores:
        """Return both accuracies and their harmonic mean; the base accuracy if there is no new."""
        if "new" not in parts:
            return {**parts, "score": parts["base"]}
        harmonic_mean = hmean(parts["base"], parts["new"])
        return {**parts, "hmean": harmonic_mean, "score": harmonic_mean}

    def automatic_rule(self, config: StudyConfig, seen: Dataset | Report) -> Rule:
        """Return class folds if there are enough base classes, else the weak rule, and warn."""
        if not isinstance(seen, Dataset):
            return BASE if seen.get("val_new") is None else CLASS_FOLDS
        base = self.scored(seen)["base"]
        if len(base) >= FEWEST_CLASSES_FOR_FOLDS:
            return CLASS_FOLDS
        logger.warning(
            "%s has %d base classes; class folds need %d, so trials are compared on base classes "
            "only, which is less reliable",
            seen.name,
            len(base),
            FEWEST_CLASSES_FOR_FOLDS,
        )
        return BASE

    def task_of_test(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test.

        Raises:
            DataError: there are no new classes; see also `study.data.tasks.task_of_test`.
        """
        if not self.scored(dataset)["new"]:
            raise DataError(
                f"{dataset.name}: {self.name} needs 2 or more classes with training images"
            )
        return super().task_of_test(dataset, shots, targets)


class Generalized(BaseToNew):
    """Learning from the base classes, for images of all classes, with all names as answers."""

    name = "generalized"
    sentence = (
        "Generalized: a model is trained on a few images of the first half of the classes (base), "
        "and tested on images of all classes, among all class names. Its score is H, the harmonic "
        "mean of its accuracies on base classes and on the other half (new), each averaged over "
        "classes. It is never trained on images of new classes."
    )
    metric = "H"
    class_averaged = True

    def answers(self, dataset: Dataset) -> Scored:
        """Return all classes for both parts."""
        scored = self.scored(dataset)
        return dict.fromkeys(scored, tuple(chain.from_iterable(scored.values())))

    def chance(self, sizes: Mapping[str, Sequence[int]]) -> Scores:
        """Return one over the number of all names: the score of naming them equally often.

        A guess that always names one class is right in one part alone, so that its H is 0.
        """
        return dict.fromkeys(sizes, 1 / sum(len(images) for images in sizes.values()))

    def task_of_test(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test, in which the images of both parts have the same answers.

        Raises:
            DataError: there is only one base class, so nothing to learn, or no new class; see also
                `study.data.tasks.task_of_test`.
        """
        if len(self.scored(dataset)["base"]) < 2:
            raise DataError(
                f"{dataset.name}: {self.name} needs 3 or more classes with training images"
            )
        task = super().task_of_test(dataset, shots, targets)
        answers = self.answers(dataset)
        parts = (replace(part, classes=answers[part.name]) for part in task.evaluations)
        return replace(task, evaluations=tuple(parts))
