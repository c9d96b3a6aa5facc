"""The study that all parts of a run share, its candidates, and a trial's inputs and reports."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from study.backbones.architecture import Architecture
from study.backbones.description import backbone_path, read_architecture
from study.config.schema import StudyConfig, TrainingConfig
from study.config.search_section import AUTO
from study.config.section import Section
from study.config.trial_settings import HEADS, Head, TrialSettings
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.records import ClassNames, Dataset, Templates
from study.data.tasks import Tasks
from study.protocols import Protocol, find_protocol
from study.storage.study_folder import CANDIDATES, CELLS, StudyFolder

if TYPE_CHECKING:
    from study.method.delta import (
        Tensors,  # the import takes a second, and reading results does not need it
    )

Stage = Literal["search", "test", "ablation", "final"]
Split = Literal["val", "test"]
COMPARED = frozenset[Stage]({"test", "ablation"})
"""The stages whose trials are tested, each on all seeds."""
SPLIT_HASH = 16
"""The number of characters of the data's digest that form the split hash."""
PRECISION = "precision.json"
"""The file of the precision that ``auto`` stands for in a study."""
BEST = "best"
"""The label of the candidate that validation chose."""
_OF_DATA = ("architecture", "dataset", "_targets")
"""What a study with another configuration of the same data keeps."""


class Candidate(Section):
    """A configuration that the stage ``test`` tests, and the head that it is used with."""

    settings: TrialSettings
    label: str
    val_score: float | None = None
    """The validation score, a fraction; None if nothing was searched."""
    source_trial: str | None = None
    """The id of the search trial that it comes from; None if nothing was searched."""
    training: str
    """The hash of its training, see `study.search.candidates.training_hash`; candidates of one
    training share its tests."""
    search_trials: int
    """The number of search trials that it was chosen from, in all, also after an
    extension; 0 if nothing was searched."""

    @property
    def tested(self) -> tuple[str, Head | None]:
        """The training and the head, which are equal for candidates with equal test results."""
        return self.training, self.settings.head

    def as_earlier(self) -> Candidate:
        """Return the candidate as one of an earlier search: its label ends in ``-of-TRIALS``."""
        ending = f"-of-{self.search_trials}"
        return self.model_copy(update={"label": self.label.removesuffix(ending) + ending})


@dataclass(frozen=True)
class Study:
    """What all parts of one run of a study share; datasets and the backbone are read once."""

    config: StudyConfig
    folder: StudyFolder
    _targets: dict[str, Dataset] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The further datasets that were read so far, by name."""

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol that the configuration names, with its metric.

        Raises:
            ConfigError: no protocol has that name.
        """
        protocol = find_protocol(self.config.protocol)
        if self.config.search.metric == "balanced_accuracy":
            return protocol.balanced()
        return protocol

    @cached_property
    def architecture(self) -> Architecture:
        """The sizes of the backbone and the identity of its weights.

        Raises:
            BackboneError: the checkpoint cannot be read.
        """
        backbone = self.config.backbone
        return read_architecture(backbone_path(backbone.name), revision=backbone.revision)

    @property
    def reading(self) -> ImageReading:
        """How images are read by the configuration, without the framing of the checkpoint."""
        data = self.config.data
        return ImageReading(data.pixel_range, data.on_corrupt)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset to train on: its classes and file lists, but no pixels.

        Raises:
            DataError: it cannot be read.
        """
        # A trial needs no reader.
        from study.data.datasets import PACKAGED, READER_OPTIONS, load_dataset

        data, reading = self.config.data, self.reading
        if data.dataset in PACKAGED and data.targets:  # the reading is for the targets alone
            reading = DEFAULT_READING
        return load_dataset(
            data.dataset,
            data.root,
            templates=data.templates,
            reading=reading,
            **{option: getattr(data, option) for option in READER_OPTIONS},
        )

    def target(self, name: str) -> Dataset:
        """Return a further dataset to test on, with its own templates.

        Raises:
            DataError: it cannot be read.
        """
        from study.data.datasets import PACKAGED, load_dataset

        if name not in self._targets:
            reading = DEFAULT_READING if name in PACKAGED else self.reading
            self._targets[name] = load_dataset(name, self.target_root(name), reading=reading)
        return self._targets[name]

    def targets(self) -> list[Dataset]:
        """Return all target datasets; see `target`."""
        return [self.target(name) for name in self.config.data.targets]

    def target_root(self, name: str) -> Path | None:
        """Return the folder that a further dataset is read from; None if there is none."""
        from study.data.datasets import is_own_dataset

        root = self.config.data.targets_root or self.config.data.root
        return root / name if root and is_own_dataset(name) else root

    def resolve_precision(self) -> Study:
        """Return the study with the precision that ``auto`` stands for, if that is decided.

        Raises:
            FolderError: the file of the precision is damaged.
        """
        if self.config.training.precision != AUTO:
            return self
        precision = self.folder.read_json(PRECISION)
        if precision is None:
            return self
        return self.with_config(self.config.with_section("training", precision=precision))

    def with_config(self, config: StudyConfig) -> Study:
        """Return the study with another configuration of the same data."""
        changed = Study(config, self.folder)
        kept = {name: value for name, value in vars(self).items() if name in _OF_DATA}
        vars(changed).update(kept)
        return changed

    def candidates(self) -> tuple[Candidate, ...] | None:
        """Return the configurations to test; None while they are not chosen.

        Raises:
            FolderError: their file is damaged.
        """
        return read_candidates(self.folder)

    def write_candidates(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """Write the configurations to test, which then stay as they are; return them."""
        candidates = tuple(candidates)
        values = [candidate.model_dump(mode="json") for candidate in candidates]
        self.folder.write_json(CANDIDATES, values)
        return candidates

    def cells(self) -> Mapping[str, TrialSettings] | None:
        """Return the settings of an ablation's cells by label; None while they are not fixed.

        Raises:
            FolderError: their file is damaged.
        """
        values = self.folder.read_json(CELLS)
        if values is None:
            return None
        return {label: TrialSettings.model_validate(cell) for label, cell in values.items()}

    def write_cells(self, cells: Mapping[str, TrialSettings]) -> Mapping[str, TrialSettings]:
        """Write the settings of an ablation's cells, which then stay as they are; return them."""
        values = {label: settings.model_dump(mode="json") for label, settings in cells.items()}
        self.folder.write_json(CELLS, values)
        return cells


def read_candidates(folder: StudyFolder) -> tuple[Candidate, ...] | None:
    """Return the configurations that a study tests; None while they are not chosen.

    Raises:
        FolderError: their file is damaged.
    """
    values = folder.read_json(CANDIDATES)
    if values is None:
        return None
    return tuple(Candidate.model_validate(value) for value in values)


def best_candidate(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that validation chose; None if there is none."""
    return candidate_of_label(candidates, BEST)


def candidate_of_label(candidates: Sequence[Candidate] | None, label: str) -> Candidate | None:
    """Return the candidate of a label; None if there is none."""
    for candidate in candidates or ():
        if candidate.label == label:
            return candidate
    return None


class TrialConfig(Section):
    """Everything that distinguishes one trial, as stored in its ``config.json``."""

    settings: TrialSettings
    """The settings, without those that have no effect."""
    trial_id: str
    stage: Stage
    group: str
    """Who proposed the trial: one of `study.config.labels.GROUPS`, or the label of a method. A
    trial that no search proposed repeats its label here."""
    label: str
    """The label of a baseline, a cell or a final training; of a test, the hash of the training."""
    number: int
    """The trial's number within its stage.

    The numbers of a stage with several seeds start at 0 for the first seed, and for the second at
    1000, or at the number of its configurations if that is larger."""
    seed: int
    """The seed of the shots and of the order and augmentation of batches."""
    trainable: int
    """The number of tuned values, over all tensors of the subset or method, without a head's."""
    epochs: int
    """The number of epochs; 0 means that the backbone is evaluated without training."""
    split_hash: str
    """A hash of the images and classes that the trial trains and is evaluated on."""
    training: TrainingConfig = TrainingConfig()
    config_hash: str = ""
    """A hash that trials with equal results share, see `study.trial.config_hash`.

    An empty text means that it was not computed."""


class Target(NamedTuple):
    """A further dataset that a model is tested on, with its own classes and prompts."""

    class_names: ClassNames
    templates: Templates
    """The templates whose mean classifies."""
    images: Path
    """The Arrow file of the decoded images."""


@dataclass(frozen=True)
class TrialData:
    """The data that a trial may read; before the stage ``test`` it has no test image."""

    protocol: Protocol
    class_names: ClassNames
    templates: Templates
    """The templates whose mean classifies; training uses the first."""
    tasks: Tasks
    """The tasks, one model each; the trial's score is computed over all of them."""
    digest: str
    """A hash of the shots and folds."""
    train_images: Path
    """The Arrow file of the decoded training images."""
    eval_images: Path
    """The Arrow file of the decoded evaluation images, without those of the targets."""
    augment: bool
    """Whether training images are cropped and flipped at random."""
    split: Split
    """The split of the evaluation images; ``test`` is evaluated after the last epoch only."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """The targets, by the name of their part among the evaluations."""
    reading: ImageReading = DEFAULT_READING
    """How images are read."""
    heads: tuple[Head, ...] = ()
    """The heads that every trial is scored with, beside the one that its settings name."""
    scored_at: tuple[int, ...] | None = None
    """The epochs after which validation scores a trial, beside the last; None means every epoch.

    A trial of a search is scored only where it may be stopped."""
    epoch_images: int | None = None
    """The most training images of an epoch, which draws them anew; None means all."""

    def heads_of(self, settings: TrialSettings) -> tuple[Head, ...]:
        """Return the heads that a trial of these settings is scored with."""
        return tuple(head for head in HEADS if head in self.heads or head == settings.head)

    @property
    def caches(self) -> Path:
        """The folder of the feature cache, see `study.trial.feature_cache.cached_features`."""
        return self.train_images.parent

    @property
    def own_target(self) -> Target:
        """The class names, templates and images of all parts that are not in `targets`."""
        return Target(self.class_names, self.templates, self.eval_images)


class Prediction(NamedTuple):
    """The class that a model predicts for one image, with one of its heads."""

    head: Head
    """The head that classifies."""
    part: str
    """The name of the evaluated part, such as "accuracy", "base" or a target."""
    path: str
    """The image's path in its dataset."""
    label: str
    """The name of its class."""
    predicted: str
    """The name of the class that the model finds most probable."""
    probability: float
    """The probability that the model gives to that class."""
    true_probability: float | None = None
    """The probability that the model gives to the class of `label`; None for a test image."""
    group: str = ""
    """See `Record.group`."""
    fold: int = 0
    """The position of the task whose model predicts."""


@dataclass(frozen=True)
class EpochReport:
    """The state and the results of a trial after an epoch."""

    epoch: int
    """The number of completed epochs; 0 in the zero-shot report."""
    done: bool
    """Whether this is the trial's last report."""
    metrics: dict[str, float]
    """The losses, learning rates and speed, and the time in seconds.

    After an evaluation also ``val_score`` or ``test_score`` and its parts, as fractions, with the
    head that the trial is used with, and ``val_score_text`` and the like of each head."""
    state: Tensors = field(default_factory=dict)
    """What `run_trial` needs to continue after this epoch, by name, on the CPU; empty when done."""
    deltas: tuple[Tensors, ...] = ()
    """The tuned parameters of each task's model, by transformers name, at the α of the trial.

    After an evaluation they contain its linear head, too. Empty where no delta is written."""
    predictions: list[Prediction] = field(default_factory=list)
    """The predictions of every evaluated image, over all heads and tasks; empty without an
    evaluation."""
    head: Head | None = None
    """The head that the trial is used with; None without an evaluation."""
    scores: Mapping[Head, Mapping[str, float]] = field(default_factory=dict)
    """All scores of each head by name, as fractions; empty without an evaluation."""
    ended_at: float = field(default_factory=time.time)
    """When the epoch and its evaluation had ended, in seconds since 1970."""
