"""The training and evaluation of one trial, as an iterator of epoch reports.

Each task has a model of its own.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor

from study.config.settings import rate_column
from study.data.images.table import normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.data.tasks import Part, Task
from study.method.model import Backbone, FewShotClassifier, accuracy, predict
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Losses, Schedule, make_optimizer, mean_losses, train_epoch
from study.trial.activations import (
    begin_images,
    begin_prompts,
    class_features,
    open_table,
    zero_shot_text,
)
from study.trial.predictions import mean
from study.trial.study import EpochReport, Prediction, TrialConfig, TrialData


class TaskRun:
    """The model of one task, with its optimizer and its random generator.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        task: the task to train and evaluate.
        index: the position of the task among the trial's tasks; it varies the seed.
        micro_batch: see `study.trial.run.run_trial`.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        backbone: Backbone,
        task: Task,
        index: int,
        *,
        micro_batch: int | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.data = data
        self.classifier = FewShotClassifier(
            backbone, parse(config.settings.subset), precision=config.training.precision
        )
        self._staged = StagedClassifier(self.classifier)
        self._backbone = backbone
        self._micro_batch = micro_batch
        self._shared = data.train_images.parent
        self._prefix = f"task{index}"
        self._generator = torch.Generator().manual_seed(config.seed * 1_000_003 + index)
        self._paths = [record.path for record in task.train.records]
        position = {class_id: index for index, class_id in enumerate(task.train.classes)}
        self._labels = torch.tensor(
            [position[record.label] for record in task.train.records], device=self.classifier.device
        )
        self.input_ids = self.tokenize(task.train)
        if config.epochs:
            self.optimizer = make_optimizer(
                self.classifier.tuned,
                config.settings.rates,
                optimizer=config.training.optimizer,
                momentum=config.training.momentum,
                weight_decay=config.training.weight_decay,
            )
            self._prompts = begin_prompts(self._staged, backbone, self.input_ids, self._shared)
            self._zero_shot_text = zero_shot_text(
                backbone, self.input_ids, config.training.precision, self._shared
            )

    @property
    def images_per_epoch(self) -> int:
        """The number of training images used in an epoch.

        An incomplete last batch is dropped, as in the reference, unless it is the only one.
        """
        size = self.config.training.batch_size
        return len(self._paths) // size * size or len(self._paths)

    def train_epoch(self, schedule: Schedule, epoch: int) -> Losses:
        """Train one epoch, counted from 0, and return its mean losses."""
        return train_epoch(
            self._staged,
            self.optimizer,
            self._batches(),
            schedule=schedule,
            epoch=epoch,
            prompts=self._prompts,
            zero_shot_text=self._zero_shot_text,
            distill_weight=self.config.settings.distill_weight,
            regularizer=self.config.training.regularizer,
            micro_batch=self._micro_batch,
        )

    @torch.no_grad()
    def predict(self) -> Iterator[tuple[Part, Tensor, Tensor]]:
        """Classify the evaluation images of the task.

        Yields:
            The part and, of its images, the predicted class ids of the dataset, (images,) int64,
            and their probabilities, (images,) float32.
        """
        size, batch_size = self.config.training.eval_batch_size, self.config.training.batch_size
        if self._micro_batch is not None:
            size = max(1, size * self._micro_batch // batch_size)
        for part in self.task.evaluations:
            source = self.data.target(part.name)
            templates = len(source.templates) if self.data.ensemble else 1
            ids = self.tokenize(part, templates)
            text = class_features(self._staged, self._backbone, ids, templates, self._shared)
            paths = [record.path for record in part.records]
            batches = (
                begin_images(self._staged, self._backbone, source.images, paths[at : at + size])
                for at in range(0, len(paths), size)
            )
            rows, probabilities = predict(self._staged, batches, text)
            yield part, torch.tensor(part.classes)[rows], probabilities

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch of an epoch, shuffled: begun images and labels, (batch,) int64."""
        order = torch.randperm(len(self._paths), generator=self._generator)
        for rows in order[: self.images_per_epoch].split(self.config.training.batch_size):
            paths = [self._paths[row] for row in rows]
            if self.data.augment:
                pixels = random_resized_crop_flip(
                    open_table(self.data.train_images).images(paths),
                    self._backbone.image_size,
                    self._generator,
                    device=self.classifier.device,
                )
                pixels = normalize(pixels, self._backbone.image_mean, self._backbone.image_std)
                chunks = pixels.split(self._micro_batch or len(paths))
                images = torch.cat([self._staged.begin_images(chunk) for chunk in chunks])
            else:
                images = begin_images(self._staged, self._backbone, self.data.train_images, paths)
            yield images, self._labels[rows.to(self._labels.device)]

    def tokenize(self, part: Part, templates: int = 1) -> Tensor:
        """Return the token ids of a part's prompts, (classes · templates, length) int64.

        The rows of one class stand together.
        """
        target = self.data.target(part.name)
        names = [target.class_names[c] for c in part.classes]
        texts = chain.from_iterable(prompts(names, target.templates[:templates]))
        return self._backbone.tokenize([*texts]).to(self.classifier.device)

    def delta(self) -> dict[str, Tensor]:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        return {
            t.name: t.parameter.detach().to("cpu", copy=True).contiguous()
            for t in self.classifier.tuned
        }

    def state(self) -> dict[str, Tensor]:
        """Return copies of the parameters, optimizer state and generator state on the CPU."""
        optimizer = {
            f"optimizer.{index}.{key}": torch.as_tensor(value).detach().to("cpu", copy=True)
            for index, values in self.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        own = {
            **{f"parameter.{name}": tensor for name, tensor in self.delta().items()},
            **optimizer,
            "generator": self._generator.get_state(),
        }
        return {f"{self._prefix}.{name}": tensor for name, tensor in own.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for tuned in self.classifier.tuned:
            tuned.parameter.copy_(state[f"{self._prefix}.parameter.{tuned.name}"])
        optimizer: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            if name.startswith(prefix := f"{self._prefix}.optimizer."):
                index, key = name.removeprefix(prefix).split(".")
                optimizer[int(index)][key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": dict(optimizer)})
        self._generator.set_state(state[f"{self._prefix}.generator"])


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Mapping[str, Tensor]] | None = None,
    micro_batch: int | None = None,
) -> Iterator[EpochReport]:
    """Train and evaluate one trial; yield a report after every epoch.

    The reports depend on the arguments only, not on what ran before in this process.

    Args:
        config: the trial's configuration.
        data: the trial's images, classes and tasks.
        backbone: the backbone, loaded once per process; it stays unchanged.
        start: the number of completed epochs and the state reported after them.
        micro_batch: the number of images that pass through the encoders at once, if a whole batch
            does not fit into memory; evaluation batches shrink in proportion. It changes results
            by rounding only, and is reported among the metrics.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    runs = [
        TaskRun(config, data, backbone, task, index, micro_batch=micro_batch)
        for index, task in enumerate(data.tasks)
    ]
    epoch, state = start or (0, {})
    for run in runs if state else ():
        run.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    micro: dict[str, float] = {} if micro_batch is None else {"micro_batch": micro_batch}
    done = False
    while not done:
        began = time.perf_counter()
        metrics = dict(micro)
        if config.epochs:
            means = mean_losses([run.train_epoch(schedule, epoch) for run in runs])
            metrics = {
                "train_loss": means.loss.item(),
                "cross_entropy": means.cross_entropy.item(),
                "distillation": means.distillation.item(),
            }
            for kind, rate in config.settings.rates.items():
                metrics[rate_column(kind)] = schedule.learning_rate(rate, epoch)
            images = sum(run.images_per_epoch for run in runs)
            metrics |= {**micro, "images_per_second": images / (time.perf_counter() - began)}
            epoch += 1
        done = epoch >= config.epochs
        predictions: list[Prediction] = []
        if data.split == "val" or done:
            scores, predictions = _evaluate(runs, data)
            metrics |= {f"{data.split}_{name}": value for name, value in scores.items()}
        metrics["seconds"] = time.perf_counter() - began
        yield EpochReport(
            epoch=epoch,
            done=done,
            metrics=metrics,
            state={} if done else {k: v for run in runs for k, v in run.state().items()},
            deltas=tuple(run.delta() for run in runs),
            predictions=predictions,
        )


def _evaluate(
    runs: Sequence[TaskRun], data: TrialData
) -> tuple[dict[str, float], list[Prediction]]:
    """Return the scores and the predictions.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    predictions = []
    for part, predicted, probabilities in (result for run in runs for result in run.predict()):
        labels = torch.tensor([record.label for record in part.records])
        parts[part.name].append(accuracy(predicted, labels))
        names = data.target(part.name).class_names
        found = zip(part.records, predicted.tolist(), probabilities.tolist(), strict=True)
        predictions += [
            Prediction(part.name, record.path, names[record.label], names[class_id], probability)
            for record, class_id, probability in found
        ]
    return data.protocol.score({k: mean(values) for k, values in parts.items()}), predictions
