"""What a trial is given and what it gives: the seam that Tune, a plain loop and a test share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from study.config.schema import Protocol, Section, TrainingConfig
from study.data.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor  # a second's import, which a study is checked without

Stage = Literal["search", "confirm", "ablation"]
SPLIT_HASH = 16
"""Characters of the data's digest that name it in trials and files."""


class TrialConfig(Section):
    """All that distinguishes one trial, as it stands in its ``config.json``."""

    trial_id: str
    stage: Stage
    arm: str
    """Who proposed the trial: ``baseline``, ``clipfit-tuned`` or ``search``. A trial that no search
    proposed repeats the label of its candidate or cell here, and nothing reads it."""
    label: str
    number: int
    """Counts the trials of a stage from 0."""
    seed: int
    """Of the shots and of the order and augmentation of batches."""
    subset: str
    subset_key: str
    """Hash of the resolved subset: equal for equal sets of parameters."""
    trainable: int
    bias_lr: float | None = None
    ln_lr: float | None = None
    distill_weight: float = 0.0
    epochs: int
    """0 where nothing is trained: one report then tells the zero-shot score."""
    split_hash: str
    """Of the images and classes that the trial learns from and is judged on."""
    training: TrainingConfig = TrainingConfig()
    config_hash: str = ""
    """Equal for trials of equal results, see `study.trial.config_hash`; empty: not computed."""
    taken_from: str | None = None
    """The MLflow run whose result this is; None: trained by this study."""
    optuna_number: int | None = None
    """The proposal's number in the Optuna study of its arm."""


@dataclass(frozen=True)
class Target:
    """A further dataset that a model is tested on, with classes and prompts of its own."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    images: Path


@dataclass(frozen=True)
class TrialData:
    """What a trial may see. Before `confirm` no test image is in it."""

    dataset: str
    protocol: Protocol
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    tasks: tuple[Task, ...]
    """One model each; a trial's score is over all of them."""
    digest: str
    """Hash of the shots and folds."""
    train_images: Path
    eval_images: Path
    augment: bool
    split: Literal["val", "test"]
    """What the evaluations are images of; ``test`` is evaluated after the last epoch alone."""
    ensemble: bool = False
    """Classify by the mean of all templates rather than by the first."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """By the name of their part among the evaluations."""
    pixel_range: tuple[float, float] | None = None
    """Black and white of images deeper than 8 bits, as `study.data.images.rgb.to_rgb` takes it."""

    def class_names_of(self, part: str) -> tuple[str, ...]:
        """Give the class names that a part's class ids count."""
        return self.targets[part].class_names if part in self.targets else self.class_names


@dataclass(frozen=True)
class EpochReport:
    """What a trial knows after an epoch."""

    epoch: int
    """Epochs completed; 0 for the zero-shot report."""
    done: bool
    metrics: dict[str, float]
    """Losses, learning rates and speed; ``val_score`` or ``test_score`` and its parts where
    evaluated, as fractions."""
    state: dict[str, Tensor]
    """All that `run_trial` needs to go on after this epoch, by name, on the CPU."""
    deltas: tuple[dict[str, Tensor], ...]
    """The tuned parameters of each task's model, by transformers name."""
    confusions: dict[str, Tensor]
    """(classes, classes) int64 sparse counts of true and predicted class, by evaluation, over
    tasks."""
