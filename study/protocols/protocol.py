"""What a protocol decides: its tasks, its rules of selection, its score, and the words for them.

Those of this package are few-shot, base to new, generalized, transfer and zero-shot.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from study.config.labels import ZERO_SHOT
from study.config.rules import broken_rules_of_searching
from study.config.schema import StudyConfig
from study.config.search_section import AUTO
from study.config.trial_settings import TrialSettings
from study.data.records import Dataset
from study.data.shots import Shots, wanted_val_shots
from study.data.tasks import (
    FEWEST_CLASSES_FOR_FOLDS,
    Scored,
    Task,
    all_classes,
    check_shots,
    class_fold_tasks,
    class_halves,
    confirm_task,
    holdout_tasks,
    image_fold_tasks,
)
from study.errors import DataError
from study.protocols.competition import (
    Competition,
    accuracies,
    ausuc,
    best_calibration,
    hmean,
)

logger = logging.getLogger(__name__)
Targets = Literal["refused", "allowed", "needed"]


@dataclass(frozen=True)
class Rule:
    """A rule of selection: the images and classes by which trials are compared."""

    name: str
    """The name in the configuration."""
    sentence: str
    """How trials are compared; it continues "Trials were compared"."""
    tasks: Callable[[Shots, str, tuple[int, ...], int], tuple[Task, ...]]
    """A function of the shots, the name of the scored part, the trained classes and the number of
    folds, such as `study.data.tasks.holdout_tasks`; it returns one task per model."""
    folds: int = 1
    """The number of folds, unless the configuration sets it."""


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


class Protocol(ABC):
    """A protocol; a subclass is stateless, since its instances travel to the workers of trials."""

    name: ClassVar[str]
    """The name in the configuration, in tables and in MLflow."""
    sentence: ClassVar[str]
    """What a report says about the protocol."""
    trains: ClassVar[bool] = True
    """Whether models are trained; otherwise the backbone is tested as it is."""
    ablates: ClassVar[bool] = True
    """Whether the protocol can test the cells of an ablation."""
    metric: ClassVar[str] = "accuracy"
    """What the score is called."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The parts of the score that tables show beside it."""
    targets: ClassVar[Targets] = "refused"
    """Whether models are tested on further datasets."""
    rules: ClassVar[tuple[Rule, ...]]
    """The rules of selection that the configuration may name."""
    beside_headings: ClassVar[Mapping[str, str]] = {}
    """What tables call those scores of `beside` that they show, by name."""
    beside_note: ClassVar[str] = ""
    """What those scores are, in whole sentences."""
    beside_shipped: ClassVar[tuple[str, ...]] = ()
    """Those scores of `beside` that set how the model is used, with what it then comes to. They are
    those of the head that ships."""
    guess: ClassVar[str] = "Always naming the largest class"
    """What `chance` supposes; it continues "would score"."""
    competes: ClassVar[bool] = False
    """Whether trained and other names are also scored in one label space."""
    class_averaged: ClassVar[bool] = False
    """Whether the accuracy of a part is averaged over classes, rather than over images."""
    strength: ClassVar[float] = 1.0
    """α, the share of the tuned change that is kept, unless the configuration sets it."""

    @abstractmethod
    def scored(self, dataset: Dataset) -> Scored:
        """Return the classes of each part of the test; the classes of the first are trained."""

    def answers(self, dataset: Dataset) -> Scored:
        """Return the classes whose names are possible answers in each part of the test."""
        return self.scored(dataset)

    @abstractmethod
    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracies of the parts and ``score``, the number that ranks trials.

        Args:
            parts: the accuracy of each part, as a fraction; on validation some may be absent.
        """

    def beside(self, competitions: Sequence[Competition], *, validation: bool) -> dict[str, float]:
        """Return further scores of a trial, by name: those of trained and other names in one space.

        Args:
            competitions: one per task in which names compete; empty where none do.
            validation: whether the images are those to choose by, rather than test images.
        """
        return {}

    def chance(self, sizes: Mapping[str, Sequence[int]]) -> dict[str, float]:
        """Return the accuracy of each part by guessing: by always naming its largest class.

        Where classes have equally many images that is one over their number, and never less.

        Args:
            sizes: the number of test images of each class, by part.
        """
        return {part: max(images) / sum(images) for part, images in sizes.items()}

    def strength_of(self, config: StudyConfig) -> float:
        """Return α, the share of the tuned change that is kept, θ₀ + α(θ − θ₀)."""
        given = config.confirm.strength
        return self.strength if given is None else given

    @abstractmethod
    def automatic_rule_used(self, config: StudyConfig, report: Mapping[str, float | None]) -> Rule:
        """Return the rule that ``auto`` meant, from a report of one of the trials."""

    def automatic_rule(self, config: StudyConfig, dataset: Dataset) -> Rule:
        """Return the rule that ``auto`` means: the most reliable one that is possible.

        A protocol for which it depends on the dataset overrides this.
        """
        return self.automatic_rule_used(config, {})

    def rule(self, config: StudyConfig, dataset: Dataset) -> Rule:
        """Return the rule by which a study's trials are scored."""
        named = config.search.selection
        return self.automatic_rule(config, dataset) if named == AUTO else self.rule_named(named)

    def rule_used(self, config: StudyConfig, report: Mapping[str, float | None]) -> Rule:
        """Return the rule by which a study's trials were scored.

        Args:
            config: the study's configuration.
            report: a report of one of the trials; its metrics show which rule ``auto`` meant.
        """
        named = config.search.selection
        return self.automatic_rule_used(config, report) if named == AUTO else self.rule_named(named)

    def rule_named(self, name: str) -> Rule:
        """Return the rule of a name.

        Raises:
            DataError: the protocol has no such rule.
        """
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise DataError(
            f"protocol {self.name!r} cannot select by {name!r}; "
            f"allowed: {', '.join(rule.name for rule in self.rules) or 'no selection'}"
        )

    def search_tasks(
        self, dataset: Dataset, shots: Shots, rule: Rule, folds: int | None = None
    ) -> tuple[Task, ...]:
        """Return the tasks that a configuration is selected on, without test images.

        Args:
            dataset: the dataset that the shots are drawn from.
            shots: the shots.
            rule: one of the protocol's rules.
            folds: the number of folds; None means the rule's own.

        Raises:
            DataError: if the shots belong to another dataset or lack a class, or there are too few
                images or classes for the rule.
        """
        name, classes = next(iter(self.scored(dataset).items()))
        check_shots(dataset, shots, classes)
        return rule.tasks(shots, name, classes, folds or rule.folds)

    def confirm_task(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test; see `study.data.tasks.confirm_task`."""
        return confirm_task(dataset, shots if self.trains else None, self.scored(dataset), targets)

    def searches(self, config: StudyConfig) -> bool:
        """Return whether a study has a search; it has none if nothing is trained, or it ablates."""
        return self.trains and config.search.trials > 0 and config.ablation is None

    def validates(self, config: StudyConfig) -> bool:
        """Return whether anything is chosen by validation: in a search, or an ablation's rates."""
        return self.searches(config) or (config.ablation is not None and config.ablation.chooses)

    def shot_seeds(self, config: StudyConfig) -> tuple[int, ...]:
        """Return the seeds of the shots with which a study tests, without that of the search.

        A test without training needs one only, since it does not depend on the seed.
        """
        return config.confirm.seeds if self.trains else (config.seed,)

    def tested_as_given(self, config: StudyConfig) -> dict[str, TrialSettings]:
        """Return the configurations that are tested without a search, by label."""
        return config.search.fixed if self.trains else {ZERO_SHOT: TrialSettings(subset="none")}

    def disagreements(self, config: StudyConfig) -> Iterator[str]:
        """Yield the faults of a configuration of this protocol, each beginning with a path."""
        if self.targets == "needed" and not config.data.targets:
            yield f"data.targets: is empty; {self.name} needs at least one dataset to test on"
        if self.searches(config):
            yield from broken_rules_of_searching(config)
        elif config.confirm.strength not in (None, 1):
            yield (
                "confirm.strength: has no effect without a search; what is tested as given and the "
                "cells of an ablation keep all of the tuned change"
            )
        if not self.searches(config):
            if config.search.minutes is not None:
                yield "search.minutes: has no effect without a search"
            yield from (
                f"search.baselines.{label}: is a peer whose learning rate is searched, and this "
                "study has no search; allowed is a fixed rate, {subset: none, "
                f"peer: {{method: {peer.peer}, lr: {peer.lr[0]:g}}}}}"
                for label, peer in config.search.peer_arms.items()
            )
        names = (AUTO, *(rule.name for rule in self.rules))
        if self.rules and self.validates(config) and config.search.selection not in names:
            yield (
                f"search.selection: '{config.search.selection}' cannot score trials of the "
                f"protocol {self.name}; allowed are {', '.join(names)}"
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
        data = config.data
        images = data.shots + wanted_val_shots(data.shots, data.val_shots)
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

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracy by dataset and their mean; without targets, that of the source.

        The mean is over the targets, and over the source as well if nothing is trained on it.
        """
        if parts.keys() == {"accuracy"}:
            return super().score(parts)
        named = {"source" if part == "accuracy" else part: parts[part] for part in parts}
        counted = [v for name, v in named.items() if name != "source" or not self.trains]
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
    rules = ()


class BaseToNew(Protocol):
    """Learning from a few images of the base classes, for classes that were never seen as well."""

    name = "base_to_new"
    sentence = (
        "Base to new: a model learns from a few images of the first half of the classes "
        "(base). It is scored by the harmonic mean of its accuracy on test images of those and of "
        "the other half (new), of which it never saw an image. Each half is tested among its own "
        "names."
    )
    metric = "hmean"
    parts = ("base", "new")
    rules = (CLASS_FOLDS, BASE)
    beside_headings: ClassVar[Mapping[str, str]] = {"generalized": "H", "ausuc": "AUSUC"}
    beside_note = (
        "Where all names compete, H is the harmonic mean of the accuracies on images of base and "
        "new classes, averaged over classes, and AUSUC the area under the curve of these two "
        "accuracies as trained names are made less likely."
    )
    competes = True
    strength = 0.75

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

    def beside(self, competitions: Sequence[Competition], *, validation: bool) -> dict[str, float]:
        """Return the harmonic mean where all names compete, and the area under its curve."""
        if not competitions:
            return {}
        return {"generalized": hmean(*accuracies(competitions)), "ausuc": ausuc(competitions)}

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


class Generalized(BaseToNew):
    """Learning from the base classes, for images of all classes, with all names as answers."""

    name = "generalized"
    sentence = (
        "Generalized: a model learns from a few images of the first half of the classes (base), "
        "and is tested on images of all classes with all names as possible answers. It is scored "
        "by H, the harmonic mean of its accuracy on images of the base classes and on those of the "
        "other half (new), of which it never saw an image; both are averaged over classes."
    )
    metric = "H"
    beside_headings: ClassVar[Mapping[str, str]] = {"ausuc": "AUSUC"}
    beside_note = (
        "AUSUC is the area under the curve of base and new accuracy as trained names are made less "
        "likely."
    )
    beside_shipped: ClassVar[tuple[str, ...]] = ("calibration", "calibrated")
    guess = "Naming each class equally often"
    class_averaged = True

    def answers(self, dataset: Dataset) -> Scored:
        """Return all classes for both parts."""
        scored = self.scored(dataset)
        classes = tuple(label for part in scored.values() for label in part)
        return dict.fromkeys(scored, classes)

    def beside(self, competitions: Sequence[Competition], *, validation: bool) -> dict[str, float]:
        """Return the area under the curve; on validation also the best γ, and H with it.

        On test the best γ would be chosen by test images.
        """
        if not competitions:
            return {}
        found = {"ausuc": ausuc(competitions)}
        if validation:
            found["calibration"], found["calibrated"] = best_calibration(competitions)
        return found

    def chance(self, sizes: Mapping[str, Sequence[int]]) -> dict[str, float]:
        """Return one over the number of all names, which is what naming them equally often scores.

        To name one class always is right in one part alone, so that H would be 0.
        """
        return dict.fromkeys(sizes, 1 / sum(map(len, sizes.values())))

    def confirm_task(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test, where the images of both parts have the same answers.

        Raises:
            DataError: there is one base class, which leaves nothing to learn, or no new one; see
                also `study.data.tasks.confirm_task`.
        """
        if len(self.scored(dataset)["base"]) < 2:
            raise DataError(f"{dataset.name}: {self.name} needs a training split of 3 classes")
        task, answers = super().confirm_task(dataset, shots, targets), self.answers(dataset)
        parts = (replace(part, classes=answers[part.name]) for part in task.evaluations)
        return replace(task, evaluations=tuple(parts))
