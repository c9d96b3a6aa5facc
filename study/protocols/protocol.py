"""The base class of protocols: their tasks, rules of selection, scores, and words for these."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from study.config.labels import ZERO_SHOT
from study.config.rules import broken_search_rules
from study.config.schema import StudyConfig
from study.config.search_section import AUTO
from study.config.trial_settings import TrialSettings
from study.data.records import Dataset
from study.data.shots import Shots
from study.data.tasks import Classes, Scored, Task, Tasks, check_shots, task_of_test
from study.errors import DataError, Fault

Scores = dict[str, float]
"""Scores by name, as fractions."""
PartAccuracies = Mapping[str, float]
"""The accuracy of each part of a test, as a fraction."""
Report = Mapping[str, float | None]
"""The metrics in a report of a trial, by name."""
Targets = Literal["refused", "allowed", "needed"]


@dataclass(frozen=True)
class Rule:
    """A rule of selection: the images and classes by which trials are compared."""

    name: str
    """The name in the configuration."""
    sentence: str
    """How trials are compared; it continues "Trials were compared"."""
    tasks: Callable[[Shots, str, Classes, int], Tasks]
    """A function of the shots, the name of the scored part, the trained classes and the number of
    folds, such as `study.data.tasks.holdout_tasks`; it returns one task per model."""
    folds: int = 1
    """The number of folds, unless the configuration sets it; 1 means that there are none."""


class Protocol(ABC):
    """A protocol; subclasses are stateless, since instances are sent to the workers of trials."""

    name: ClassVar[str]
    """The name in the configuration, in tables and in MLflow."""
    sentence: str
    """What a report says about the protocol."""
    trains: ClassVar[bool] = True
    """Whether models are trained; otherwise the backbone is tested as it is."""
    ablates: ClassVar[bool] = True
    """Whether the protocol can test the cells of an ablation."""
    metric: str = "accuracy"
    """The name of the score."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The parts of the score that tables also show."""
    targets: ClassVar[Targets] = "refused"
    """Whether models are tested on further datasets."""
    rules: ClassVar[tuple[Rule, ...]]
    """The rules of selection that the configuration may name."""
    class_averaged: bool = False
    """Whether the accuracy of a part is averaged over classes, rather than over images."""
    alpha: ClassVar[float] = 1.0
    """α, the share of the tuned change that is kept in what a search tunes."""

    def balanced(self) -> "Protocol":
        """Return the protocol with accuracies that are averaged over classes."""
        if self.class_averaged:
            return self
        balanced = copy.copy(self)
        balanced.class_averaged = True
        balanced.metric = f"balanced {self.metric}"
        balanced.sentence = f"{self.sentence} Accuracies are averaged over classes."
        return balanced

    @abstractmethod
    def scored(self, dataset: Dataset) -> Scored:
        """Return the classes of each part of the test; the classes of the first are trained."""

    def answers(self, dataset: Dataset) -> Scored:
        """Return the classes whose names are possible answers in each part of the test."""
        return self.scored(dataset)

    @abstractmethod
    def score(self, parts: PartAccuracies) -> Scores:
        """Return the accuracies of the parts and ``score``, the number that ranks trials.

        Args:
            parts: the accuracy of each part, as a fraction; on validation some may be absent.
        """

    def chance(self, sizes: Mapping[str, Sequence[int]]) -> Scores:
        """Return the accuracy of each part by a guess that always names its largest class.

        If classes have equally many images, that is one over their number; otherwise it is more.

        Args:
            sizes: the number of test images of each class, by part.
        """
        return {part: max(images) / sum(images) for part, images in sizes.items()}

    @abstractmethod
    def automatic_rule(self, config: StudyConfig, seen: Dataset | Report) -> Rule:
        """Return the rule that ``auto`` means: the most reliable rule that is possible.

        Args:
            config: the study's configuration.
            seen: the dataset, or a report of one of the trials, which shows what was meant.
        """

    def rule(self, config: StudyConfig, seen: Dataset | Report) -> Rule:
        """Return the rule by which a study's trials are scored; see `automatic_rule`.

        Raises:
            DataError: the protocol has no such rule.
        """
        name = config.search.selection
        if name == AUTO:
            return self.automatic_rule(config, seen)
        rules = {rule.name: rule for rule in self.rules}
        if name not in rules:
            raise DataError(
                f"protocol {self.name!r} has no selection rule {name!r}; "
                f"expected {', '.join(rules) or 'none'}"
            )
        return rules[name]

    def search_tasks(
        self, dataset: Dataset, shots: Shots, rule: Rule, folds: int | None = None
    ) -> Tasks:
        """Return the tasks that a configuration is selected on, without test images.

        Args:
            dataset: the dataset that the shots are drawn from.
            shots: the shots.
            rule: one of the protocol's rules.
            folds: the number of folds; None means the rule's own.

        Raises:
            DataError: the shots belong to another dataset or lack a class, or there are too few
                images or classes for the rule.
        """
        name, classes = next(iter(self.scored(dataset).items()))
        check_shots(dataset, shots, classes)
        return rule.tasks(shots, name, classes, folds or rule.folds)

    def task_of_test(
        self, dataset: Dataset, shots: Shots | None, targets: Sequence[Dataset] = ()
    ) -> Task:
        """Return the task of the test; see `study.data.tasks.task_of_test`."""
        if not self.trains:
            shots = None
        return task_of_test(dataset, shots, self.scored(dataset), targets)

    def searches(self, config: StudyConfig) -> bool:
        """Return whether a study has a search; it has none if nothing is trained, or it ablates."""
        return self.trains and config.search.trials > 0 and config.ablation is None

    def validates(self, config: StudyConfig) -> bool:
        """Return whether validation chooses anything: in a search, or the rates of an ablation."""
        if config.ablation is not None and config.ablation.chooses_rates:
            return True
        return self.searches(config)

    def shot_seeds(self, config: StudyConfig) -> tuple[int, ...]:
        """Return the seeds of the shots with which a study tests; the search has a seed of its own.

        A test without training has only one, since it does not depend on the seed.
        """
        if self.trains:
            return config.test.seeds
        return (config.seed,)

    def fixed_settings(self, config: StudyConfig) -> dict[str, TrialSettings]:
        """Return the settings that are tested without a search, by label."""
        if self.trains:
            return config.search.fixed_baselines
        return {ZERO_SHOT: TrialSettings(subset="none")}

    def find_config_faults(self, config: StudyConfig) -> Iterator[Fault]:
        """Yield the faults of a configuration of this protocol."""
        if self.class_averaged and config.search.metric == "accuracy":
            yield Fault(
                "search.metric",
                f"is accuracy, but {self.name} averages over classes; expected auto or "
                "balanced_accuracy",
            )
        if config.ablation is not None and not self.ablates:
            yield Fault(
                "ablation",
                f"is not possible with {self.name}; expected few_shot, base_to_new or generalized",
            )
        if self.targets == "refused" and config.data.targets:
            yield Fault(
                "data.targets",
                f"have no effect with {self.name}, only with transfer and zero_shot",
            )
        if self.targets == "needed" and not config.data.targets:
            yield Fault(
                "data.targets", f"is empty; {self.name} needs at least one dataset to test on"
            )
        if self.searches(config):
            yield from broken_search_rules(config)
        else:
            if config.search.minutes is not None:
                yield Fault("search.minutes", "has no effect without a search")
            if config.final.images == "everything":
                yield Fault(
                    "final.images", "has no effect without a search, which selects the final model"
                )
            for label, method in config.search.searched_methods.items():
                yield Fault(
                    f"search.baselines.{label}",
                    f"lr is a range, but this study has no search; expected one rate, such as lr: "
                    f"{method.rates[0]:g}",
                )
        rules = [AUTO]
        rules.extend(rule.name for rule in self.rules)
        selection = config.search.selection
        if self.rules and self.validates(config) and selection not in rules:
            yield Fault(
                "search.selection",
                f"'{selection}' is not a rule of protocol {self.name}; "
                f"expected one of {', '.join(rules)}",
            )
