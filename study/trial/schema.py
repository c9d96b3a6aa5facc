"""A trial's inputs and reports: the interface that Tune, a plain loop and a test share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from study.config.schema import TrainingConfig
from study.config.settings import WithSettings
from study.data.tasks import Task
from study.protocols import Protocol

if TYPE_CHECKING:
    from torch import Tensor  # the import takes a second, and reading results does not need it

Stage = Literal["search", "confirm", "ablation"]
Split = Literal["val", "test"]
SPLIT_HASH = 16
"""The number of characters of the data's digest that form the split hash."""


class TrialConfig(WithSettings):
    """Everything that distinguishes one trial, as stored in its ``config.json``.

    Its settings are without those that have no effect."""

    trial_id: str
    stage: Stage
    arm: str
    """Who proposed the trial: ``baseline``, ``clipfit-tuned`` or ``search``. A trial that no search
    proposed repeats the label of its candidate or cell here, and nothing reads it."""
    label: str
    number: int
    """The trial's number within its stage.

    The numbers of a stage with several seeds start at 0 for the first seed, 1000 for the second."""
    seed: int
    """The seed of the shots and of the order and augmentation of batches."""
    subset_key: str
    """A hash of the resolved subset, equal for equal sets of parameters."""
    trainable: int
    """The number of tuned values, over all tensors of the subset."""
    epochs: int
    """The number of epochs; 0 means that nothing is trained and the zero-shot score is reported."""
    split_hash: str
    """A hash of the images and classes that the trial trains and is evaluated on."""
    training: TrainingConfig = TrainingConfig()
    config_hash: str = ""
    """A hash that trials with equal results share, see `study.trial.config_hash`.

    An empty text means that it was not computed."""
    taken_from: str | None = None
    """Where the result was taken from; None means that this study trained it.

    It is ``STUDY/TRIAL`` of a ledger, or what a tracker calls it, such as an MLflow run's id."""
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

    dataset: str
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
    pixel_range: tuple[float, float] | None = None
    """The values that become black and white in images deeper than 8 bits; see
    `study.data.images.rgb.to_rgb`."""

    def class_names_of(self, part: str) -> tuple[str, ...]:
        """Return the class names that the class ids of a part index."""
        return self.targets[part].class_names if part in self.targets else self.class_names


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
    """The tuned parameters of each task's model, by transformers name."""
    predictions: list[Prediction]
    """The prediction of every evaluated image, over all tasks; empty without an evaluation."""
