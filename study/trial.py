"""One trial as an iterator of epoch reports: what Tune, a plain loop and a test all consume."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from study.config import Protocol, Section, TrainingConfig
from study.data.fewshot import Part, Task
from study.data.images import ImageTable, normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.method.evaluation import accuracy, confusion, encode_prompts, hmean, predict
from study.method.model import Backbone, FewShotClassifier
from study.method.subsets import parse
from study.method.training import Losses, Schedule, make_optimizer, train_epoch

Stage = Literal["search", "confirm", "ablation"]
SPLIT_HASH = 16
"""Characters of the data's digest that name it in trials and files."""


class TrialConfig(Section):
    """All that distinguishes one trial, as it stands in its ``config.json``."""

    trial_id: str
    stage: Stage
    arm: str
    """Who proposed it: ``baseline``, ``clipfit-tuned``, ``search``; in confirm the candidate."""
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
    """Equal for trials of equal results, see `study.sameness`; empty where it was not taken."""
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
    """(classes, classes) int64 counts of true and predicted class, by evaluation, over tasks."""


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Mapping[str, Tensor]] | None = None,
) -> Iterator[EpochReport]:
    """Train and evaluate; yield after every epoch.

    The result depends on the arguments alone, not on what ran before in this process.

    Args:
        config: the trial.
        data: its images, classes and tasks.
        backbone: loaded once a process; it is left as it was.
        start: epochs completed and the state that was reported after them.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    runs = [_TaskRun(config, data, backbone, task, index) for index, task in enumerate(data.tasks)]
    epoch, state = start or (0, {})
    for run in runs if state else ():
        run.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    while True:
        began = time.perf_counter()
        metrics: dict[str, float] = {}
        images = 0
        if config.epochs:
            losses = [run.train_epoch(schedule, epoch) for run in runs]
            means = Losses(*(torch.stack(terms).mean() for terms in zip(*losses, strict=True)))
            metrics = {
                "train_loss": means.loss.item(),
                "cross_entropy": means.cross_entropy.item(),
                "distillation": means.distillation.item(),
            } | {
                f"{kind}_lr": schedule.learning_rate(rate, epoch)
                for kind, rate in (("bias", config.bias_lr), ("ln", config.ln_lr))
                if rate is not None
            }
            images = sum(run.images_per_epoch for run in runs)
            epoch += 1
        trained = time.perf_counter()
        if images:
            metrics["images_per_second"] = images / (trained - began)
        done = epoch >= config.epochs
        confusions: dict[str, Tensor] = {}
        if data.split == "val" or done:
            scores, confusions = _evaluate(runs, data)
            metrics |= {f"{data.split}_{name}": value for name, value in scores.items()}
        metrics["seconds"] = time.perf_counter() - began
        yield EpochReport(
            epoch=epoch,
            done=done,
            metrics=metrics,
            state={} if done else {k: v for run in runs for k, v in run.state().items()},
            deltas=tuple(run.delta() for run in runs),
            confusions=confusions,
        )
        if done:
            return


def score(parts: Mapping[str, float], protocol: Protocol) -> dict[str, float]:
    """Give the parts and the one number they are judged by, as ``score``.

    Few-shot: accuracy. Base-to-new: the harmonic mean; base alone where there is no new part.
    Transfer: the mean over the targets, the source beside it; on the source alone its accuracy.
    Zero-shot: the mean over all datasets.
    """
    if set(parts) == {"accuracy"}:
        return {**parts, "score": parts["accuracy"]}
    if protocol in ("transfer", "zero_shot"):
        targets = {name: value for name, value in parts.items() if name != "accuracy"}
        named = {"source": parts["accuracy"], **targets}
        counted = targets if protocol == "transfer" else named
        return {**named, "score": sum(counted.values()) / len(counted)}
    if "new" not in parts:
        return {**parts, "score": parts["base"]}
    mean = hmean(parts["base"], parts["new"])
    return {**parts, "hmean": mean, "score": mean}


def _evaluate(
    runs: Sequence[_TaskRun], data: TrialData
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Average each part over the tasks first, then score: one fold alone is noise."""
    parts: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, Tensor] = {}
    for run in runs:
        for part in run.task.evaluations:
            predictions, labels = run.predict(part)
            parts[part.name].append(accuracy(predictions, labels))
            classes = len(data.class_names_of(part.name))
            counts.setdefault(part.name, torch.zeros(classes, classes, dtype=torch.int64))
            counts[part.name] += confusion(predictions, labels, classes)
    means = {name: sum(values) / len(values) for name, values in parts.items()}
    return score(means, data.protocol), counts


class _TaskRun:
    """The model of one task, with its optimizer and its source of randomness."""

    def __init__(
        self, config: TrialConfig, data: TrialData, backbone: Backbone, task: Task, index: int
    ) -> None:
        self.task = task
        self._config = config
        self._data = data
        self._backbone = backbone
        self._prefix = f"task{index}"
        self._classifier = FewShotClassifier(
            backbone, parse(config.subset), precision=config.training.precision
        )
        self._device = self._classifier.device
        self._generator = torch.Generator().manual_seed(config.seed * 1_000_003 + index)
        self._train_table = _table(data.train_images)
        self._paths = [record.path for record in task.train.records]
        self._labels = _positions(task.train)
        self._input_ids = self._tokenize(task.train)
        if config.epochs:
            self._zero_shot_text = encode_prompts(self._classifier, self._input_ids)
            self._optimizer = make_optimizer(
                self._classifier.tuned,
                bias_lr=config.bias_lr,
                ln_lr=config.ln_lr,
                optimizer=config.training.optimizer,
                momentum=config.training.momentum,
                weight_decay=config.training.weight_decay,
            )

    @property
    def images_per_epoch(self) -> int:
        """Training images seen in an epoch: like the reference's, a last part batch is dropped."""
        size = self._config.training.batch_size
        return len(self._paths) // size * size or len(self._paths)

    def train_epoch(self, schedule: Schedule, epoch: int) -> Losses:
        """Train one epoch, counted from 0."""
        return train_epoch(
            self._classifier,
            self._optimizer,
            self._batches(),
            schedule=schedule,
            epoch=epoch,
            input_ids=self._input_ids,
            zero_shot_text=self._zero_shot_text,
            distill_weight=self._config.distill_weight,
            regularizer=self._config.training.regularizer,
        )

    def predict(self, part: Part) -> tuple[Tensor, Tensor]:
        """Classify a part's images; give predicted and true dataset class ids, (images,) int64."""
        target = self._data.targets.get(part.name)
        templates = len((target or self._data).templates) if self._data.ensemble else 1
        text = encode_prompts(self._classifier, self._tokenize(part, templates), templates)
        table = _table(target.images if target else self._data.eval_images)
        size = self._config.training.eval_batch_size
        paths = [record.path for record in part.records]
        batches = (
            self._normalized(table.pixels(paths[at : at + size]))
            for at in range(0, len(paths), size)
        )
        chosen = predict(self._classifier, batches, text)
        ids = torch.tensor(part.classes)
        return ids[chosen], torch.tensor([record.label for record in part.records])

    def delta(self) -> dict[str, Tensor]:
        """Copy the tuned parameters to the CPU."""
        return {
            t.name: t.parameter.detach().to("cpu", copy=True).contiguous()
            for t in self._classifier.tuned
        }

    def state(self) -> dict[str, Tensor]:
        """Copy parameters, optimizer state and generator state to the CPU."""
        state = {f"{self._prefix}.parameter.{name}": t for name, t in self.delta().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            for key, value in values.items():
                copied = torch.as_tensor(value).detach().to("cpu", copy=True)
                state[f"{self._prefix}.optimizer.{index}.{key}"] = copied
        state[f"{self._prefix}.generator"] = self._generator.get_state()
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for tuned in self._classifier.tuned:
            tuned.parameter.copy_(state[f"{self._prefix}.parameter.{tuned.name}"])
        per_parameter: dict[int, dict[str, Tensor]] = defaultdict(dict)
        prefix = f"{self._prefix}.optimizer."
        for name, value in state.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".")
                per_parameter[int(index)][key] = value
        whole = self._optimizer.state_dict()
        self._optimizer.load_state_dict({**whole, "state": dict(per_parameter)})
        self._generator.set_state(state[f"{self._prefix}.generator"])

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._paths), generator=self._generator)
        for rows in order[: self.images_per_epoch].split(self._config.training.batch_size):
            paths = [self._paths[row] for row in rows]
            if self._data.augment:
                images = random_resized_crop_flip(
                    self._train_table.images(paths), self._backbone.image_size, self._generator
                )
            else:
                images = self._train_table.pixels(paths)
            yield self._normalized(images), self._labels[rows].to(self._device)

    def _normalized(self, pixels: Tensor) -> Tensor:
        return normalize(
            pixels.to(self._device, non_blocking=True),
            self._backbone.image_mean,
            self._backbone.image_std,
        )

    def _tokenize(self, part: Part, templates: int = 1) -> Tensor:
        source = self._data.targets.get(part.name) or self._data
        names = [source.class_names[c] for c in part.classes]
        per_class = prompts(names, source.templates[:templates])
        return self._backbone.tokenize([p for group in per_class for p in group]).to(self._device)


def _positions(part: Part) -> Tensor:
    """Give each image's position among the part's classes, (images,) int64."""
    position = {class_id: index for index, class_id in enumerate(part.classes)}
    return torch.tensor([position[record.label] for record in part.records])


_TABLES: dict[Path, ImageTable] = {}


def _table(path: Path) -> ImageTable:
    """Open an image table once a process: it is a read-only memory map."""
    if path not in _TABLES:
        _TABLES[path] = ImageTable(path)
    return _TABLES[path]
