"""What parts of a run share: the study with what was chosen, and a trial's inputs and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from study.backbones.architecture import Architecture
from study.backbones.description import backbone_path, read_architecture
from study.config.labels import WITH_DELTA
from study.config.schema import StudyConfig, TrainingConfig
from study.config.search_section import AUTO
from study.config.section import Section
from study.config.trial_settings import TrialSettings
from study.data.images.image_reading import DEFAULT_READING, ImageReading, reading_of_config
from study.data.records import Dataset
from study.data.tasks import Task
from study.protocols import Protocol, named
from study.storage.study_folder import CANDIDATES, CELLS, StudyFolder

if TYPE_CHECKING:
    from torch import Tensor  # the import takes a second, and reading results does not need it

T = TypeVar("T")
Stage = Literal["search", "confirm", "ablation"]
Split = Literal["val", "test"]
SPLIT_HASH = 16
"""The number of characters of the data's digest that form the split hash."""
PRECISION = "precision.json"
"""The file of the precision that ``auto`` stands for in a study."""
BEST = "best"
"""The label of the candidate that validation chose."""


class Candidate(Section):
    """A configuration that the stage ``confirm`` tests."""

    settings: TrialSettings
    label: str
    val_score: float | None = None
    """The validation score, a fraction; None if nothing was searched."""
    source_trial: str | None = None
    """The id of the search trial that it comes from; None if nothing was searched."""
    same_as: str | None = None
    """The label of an equal candidate that is trained instead of this one."""


@dataclass(frozen=True)
class Study:
    """What all parts of one run of a study share; each thing is read once, when it is first used.

    A choice is looked for until it is there, since it is made late in a run.
    """

    config: StudyConfig
    folder: StudyFolder
    given: Protocol | None = None
    """A protocol of the name in the configuration, if it is not found by that."""
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was read so far, by the name of what it is."""

    def protocol(self) -> Protocol:
        """Return the protocol that the configuration names.

        Raises:
            ConfigError: there is none of that name.
        """
        return self._once("protocol", lambda: named(self.config.protocol, self.given))

    def architecture(self) -> Architecture:
        """Return the sizes of the backbone and the identity of its weights.

        Raises:
            BackboneError: the checkpoint cannot be read.
        """
        backbone = self.config.backbone
        return self._once(
            "architecture",
            lambda: read_architecture(backbone_path(backbone.name), revision=backbone.revision),
        )

    @property
    def reading(self) -> ImageReading:
        """How the configuration says that images are read, whatever the checkpoint says."""
        return reading_of_config(vars(self.config.data))

    def dataset(self) -> Dataset:
        """Return the dataset to train on: its classes and file lists, but no pixels.

        Raises:
            DataError: it cannot be read.
        """
        from study.data.datasets import PACKAGED, load_dataset  # a trial needs no reader

        data = self.config.data
        reading = self.reading
        if data.dataset in PACKAGED and data.targets:  # the reading is for the targets alone
            reading = DEFAULT_READING
        # mypy accepts no dict of literal keys as a Mapping of str.
        renamed: dict[str, Any] = {"columns": data.columns, "splits": data.splits}
        return self._once(
            "dataset",
            lambda: load_dataset(
                data.dataset,
                data.root,
                templates=data.templates,
                reading=reading,
                **renamed,
                subset=data.subset,
                revision=data.revision,
            ),
        )

    def target(self, name: str) -> Dataset:
        """Return a further dataset to test on, with its own templates.

        Raises:
            DataError: it cannot be read.
        """
        from study.data.datasets import PACKAGED, load_dataset

        reading = DEFAULT_READING if name in PACKAGED else self.reading
        return self._once(
            f"target {name}", lambda: load_dataset(name, self.targets_root, reading=reading)
        )

    @property
    def targets_root(self) -> Path | None:
        """The folder of the further datasets to test on."""
        return self.config.data.targets_root or self.config.data.root

    def in_precision(self) -> Study:
        """Return the study with the precision that it found for ``auto``, once that is known.

        Raises:
            LedgerError: the file that says so is damaged.
        """
        if self.config.training.precision != AUTO:
            return self
        if (found := self.folder.read_json(PRECISION)) is None:
            return self
        training = self.config.training.model_copy(update={"precision": found})
        config = self.config.model_copy(update={"training": training})
        resolved = Study(config, self.folder, self.given)
        resolved._known.update(self._known)
        return resolved

    def candidates(self) -> tuple[Candidate, ...] | None:
        """Return the configurations to test; None while they are not chosen.

        Raises:
            LedgerError: their file is damaged.
        """
        return self._once(CANDIDATES, lambda: read_candidates(self.folder))

    def choose(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """Write the configurations to test, which stay as they are from now on; return them."""
        chosen = tuple(candidates)
        self.folder.write_json(CANDIDATES, [c.model_dump(mode="json") for c in chosen])
        self._known[CANDIDATES] = chosen
        return chosen

    def cells(self) -> Mapping[str, TrialSettings] | None:
        """Return the settings of an ablation's cells by label; None while they are not fixed.

        Raises:
            LedgerError: their file is damaged.
        """
        return self._once(CELLS, lambda: _read_cells(self.folder))

    def fix_cells(self, cells: Mapping[str, TrialSettings]) -> Mapping[str, TrialSettings]:
        """Write the settings of an ablation's cells, which stay as they are; return them."""
        self.folder.write_json(CELLS, {k: own.model_dump(mode="json") for k, own in cells.items()})
        self._known[CELLS] = cells
        return cells

    def _once(self, what: str, read: Callable[[], T]) -> T:
        """Return what was read before, else read it; nothing (None) is not kept."""
        if what not in self._known and (found := read()) is not None:
            self._known[what] = found
        return self._known.get(what)  # type: ignore[return-value]


def read_candidates(folder: StudyFolder) -> tuple[Candidate, ...] | None:
    """Return the configurations that a study tests; None while they are not chosen.

    Raises:
        LedgerError: their file is damaged.
    """
    written = folder.read_json(CANDIDATES)
    return None if written is None else tuple(map(Candidate.model_validate, written))


def best_of(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that validation chose; None if there is none."""
    return next((c for c in candidates or () if c.label == BEST), None)


def registrable(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate to register: the best or, where it writes no delta, the best that does.

    Return None if there is none.
    """
    kept = next((c for c in candidates or () if c.label == WITH_DELTA), None)
    return kept or best_of(candidates)


def _read_cells(folder: StudyFolder) -> dict[str, TrialSettings] | None:
    if (written := folder.read_json(CELLS)) is None:
        return None
    return {label: TrialSettings.model_validate(values) for label, values in written.items()}


class TrialConfig(Section):
    """Everything that distinguishes one trial, as stored in its ``config.json``."""

    settings: TrialSettings
    """The settings, without those that have no effect."""
    trial_id: str
    stage: Stage
    arm: str
    """Who proposed the trial: one of `study.config.labels.ARMS`, or the label of a peer. A trial
    that no search proposed repeats the label of its candidate or cell here."""
    label: str
    number: int
    """The trial's number within its stage.

    The numbers of a stage with several seeds start at 0 for the first seed, and for the second at
    1000, or at the number of its configurations if that is larger."""
    seed: int
    """The seed of the shots and of the order and augmentation of batches."""
    subset_key: str
    """A hash of the resolved subset, equal for equal sets of parameters."""
    trainable: int
    """The number of tuned values, over all tensors of the subset or of a peer, and of a head."""
    epochs: int
    """The number of epochs; 0 means that nothing is trained and the zero-shot score is reported."""
    split_hash: str
    """A hash of the images and classes that the trial trains and is evaluated on."""
    training: TrainingConfig = TrainingConfig()
    config_hash: str = ""
    """A hash that trials with equal results share, see `study.trial.config_hash`.

    An empty text means that it was not computed."""
    taken_from: str | None = None
    """Where the result was taken from, or its training; None means that this trial trained it.

    It is ``STUDY/TRIAL`` of a ledger, this study's own included, or what a tracker calls it, such
    as an MLflow run's id."""
    scored_at: tuple[int, ...] | None = None
    """The epochs after which validation scores the trial, beside the last; None means every epoch.

    For each score a linear head is trained. So only those are had that may stop the trial."""
    optuna_number: int | None = None
    """The proposal's number in the Optuna study of its arm; None for other trials."""


@dataclass(frozen=True)
class Target:
    """A further dataset that a model is tested on, with its own classes and prompts."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    images: Path
    """The Arrow file of the decoded images."""


@dataclass(frozen=True)
class TrialData:
    """The data that a trial may read; before the stage ``confirm`` it has no test image."""

    protocol: Protocol
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    tasks: tuple[Task, ...]
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
    ensemble: bool = False
    """Whether to classify by the mean of all templates instead of by the first."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """The targets, by the name of their part among the evaluations."""
    reading: ImageReading = DEFAULT_READING
    """How images are read."""

    @property
    def caches(self) -> Path:
        """The folder of the feature cache, see `study.trial.feature_cache.cached_features`."""
        return self.train_images.parent

    def target(self, part: str) -> Target:
        """Return the class names, templates and images that a part is scored with."""
        return self.targets.get(part) or Target(self.class_names, self.templates, self.eval_images)


class Prediction(NamedTuple):
    """What a model takes one image for."""

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
    right_of_kind: bool | None = None
    """Where trained names compete with others: whether the best of those of the image's own kind is
    the true one."""
    gap: float | None = None
    """The highest logit among the trained names less the highest among the others."""


@dataclass(frozen=True)
class EpochReport:
    """The state and the results of a trial after an epoch."""

    epoch: int
    """The number of completed epochs; 0 in the zero-shot report."""
    done: bool
    """Whether this is the trial's last report."""
    metrics: dict[str, float]
    """The losses, learning rates and speed, and the time in seconds.

    After an evaluation also ``val_score`` or ``test_score`` and its parts, as fractions."""
    state: dict[str, Tensor]
    """What `run_trial` needs to continue after this epoch, by name, on the CPU; empty when done."""
    deltas: tuple[dict[str, Tensor], ...]
    """What each task's model is used with: the tuned parameters by transformers name, at the
    trial's strength, and, after an evaluation, its head. Empty where no delta is written."""
    predictions: list[Prediction]
    """The prediction of every evaluated image, over all tasks; empty without an evaluation."""
    folds: tuple[float, ...] = ()
    """The validation score of each task's model alone, where there are several."""
    siblings: tuple[EpochReport, ...] = ()
    """When done, the last reports of trials that use the result of this training otherwise."""
