"""The models of a trial, one per task, trained and evaluated together where that is faster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from study.data.images.table import normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.data.tasks import Part, Task
from study.method.evaluation import PROMPTS_AT_ONCE
from study.method.model import Backbone, FewShotClassifier
from study.method.packed import PackedClassifiers, Prompts
from study.method.packed_training import Batch, train_packed_epoch
from study.method.subsets import parse
from study.method.training import Losses, Schedule, make_optimizer
from study.trial.image_activations import ImageActivations, open_table
from study.trial.prompt_activations import begin_prompts, class_features, zero_shot_text
from study.trial.schema import TrialConfig, TrialData

AT_ONCE = 2**22
"""The most numbers that packed runs pass between layers: about 28 images through ViT-B/16.

A larger batch keeps the machine busy by itself, and packing would only take memory."""


class TaskRun:
    """The model of one task, with its optimizer and its random generator.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        task: the task to train and evaluate.
        index: the position of the task among the trial's tasks; it varies the seed.
    """

    def __init__(
        self, config: TrialConfig, data: TrialData, backbone: Backbone, task: Task, index: int
    ) -> None:
        self.task = task
        self.config = config
        self.data = data
        self.classifier = FewShotClassifier(
            backbone, parse(config.settings.subset), precision=config.training.precision
        )
        self._backbone = backbone
        self._prefix = f"task{index}"
        self._generator = torch.Generator().manual_seed(config.seed * 1_000_003 + index)
        self._paths = [record.path for record in task.train.records]
        self._labels = _positions(task.train).to(self.classifier.device)
        self.input_ids = self.tokenize(task.train)
        if config.epochs:
            self.optimizer = make_optimizer(
                self.classifier.tuned,
                bias_lr=config.settings.rates.get("bias"),
                ln_lr=config.settings.rates.get("ln"),
                optimizer=config.training.optimizer,
                momentum=config.training.momentum,
                weight_decay=config.training.weight_decay,
            )

    @property
    def images_per_epoch(self) -> int:
        """The number of training images used in an epoch.

        An incomplete last batch is dropped, as in the reference, unless it is the only one.
        """
        size = self.config.training.batch_size
        return len(self._paths) // size * size or len(self._paths)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.images_per_epoch // self.config.training.batch_size)

    def batches(self) -> Iterator[tuple[list[str], Tensor]]:
        """Yield each batch of an epoch, shuffled: image paths and labels, (batch,) int64."""
        order = torch.randperm(len(self._paths), generator=self._generator)
        for rows in order[: self.images_per_epoch].split(self.config.training.batch_size):
            yield [self._paths[row] for row in rows], self._labels[rows.to(self._labels.device)]

    def augmented(self, paths: Sequence[str]) -> Tensor:
        """Return randomly cropped and flipped images, (images, 3, size, size), normalised."""
        images = random_resized_crop_flip(
            open_table(self.data.train_images).images(paths),
            self._backbone.image_size,
            self._generator,
            device=self.classifier.device,
        )
        return normalize(images, self._backbone.image_mean, self._backbone.image_std)

    def tokenize(self, part: Part, templates: int = 1) -> Tensor:
        """Return the token ids of a part's prompts, (classes · templates, length) int64.

        The rows of one class stand together.
        """
        source = self.data.targets.get(part.name) or self.data
        names = [source.class_names[c] for c in part.classes]
        per_class = prompts(names, source.templates[:templates])
        ids = self._backbone.tokenize([p for group in per_class for p in group])
        return ids.to(self.classifier.device)

    def delta(self) -> dict[str, Tensor]:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        return {
            t.name: t.parameter.detach().to("cpu", copy=True).contiguous()
            for t in self.classifier.tuned
        }

    def state(self) -> dict[str, Tensor]:
        """Return copies of the parameters, optimizer state and generator state on the CPU."""
        state = {f"{self._prefix}.parameter.{name}": t for name, t in self.delta().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, value in values.items():
                copied = torch.as_tensor(value).detach().to("cpu", copy=True)
                state[f"{self._prefix}.optimizer.{index}.{key}"] = copied
        state[f"{self._prefix}.generator"] = self._generator.get_state()
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for tuned in self.classifier.tuned:
            tuned.parameter.copy_(state[f"{self._prefix}.parameter.{tuned.name}"])
        per_parameter: dict[int, dict[str, Tensor]] = defaultdict(dict)
        prefix = f"{self._prefix}.optimizer."
        for name, value in state.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".")
                per_parameter[int(index)][key] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": dict(per_parameter)})
        self._generator.set_state(state[f"{self._prefix}.generator"])


class Pack:
    """Runs of one trial whose batches pass through the encoders together.

    Args:
        runs: the runs, each of equally many steps per epoch.
        backbone: the backbone of the runs.
        micro_batch: see `study.trial.run.run_trial`.
    """

    def __init__(
        self, runs: Sequence[TaskRun], backbone: Backbone, micro_batch: int | None = None
    ) -> None:
        self._runs = list(runs)
        self._micro_batch = micro_batch
        self._backbone = backbone
        self._config, self._data = runs[0].config, runs[0].data
        self._shared = self._data.train_images.parent
        self._packed = PackedClassifiers([run.classifier for run in runs])
        self._images: dict[str, ImageActivations] = {}
        self._texts: dict[int, Prompts] = {}
        if self._config.epochs:
            ids = [run.input_ids for run in runs]
            self._prompts = begin_prompts(self._packed, backbone, ids, self._shared)
            precision = self._config.training.precision
            self._zero_shot_text = zero_shot_text(backbone, ids, precision, self._shared)

    def train_epoch(self, schedule: Schedule, epoch: int) -> list[Losses]:
        """Train one epoch, counted from 0, and return the losses of each run."""
        return train_packed_epoch(
            self._packed,
            [run.optimizer for run in self._runs],
            self._batches(),
            schedule=schedule,
            epoch=epoch,
            prompts=self._prompts,
            zero_shot_text=self._zero_shot_text,
            distill_weight=self._config.settings.distill_weight,
            regularizer=self._config.training.regularizer,
            micro_batch=self._micro_batch,
        )

    @torch.no_grad()
    def predict(self) -> Iterator[tuple[Part, Tensor, Tensor]]:
        """Classify the evaluation images of every task.

        Yields:
            The part and, of its images, the predicted and the true class ids of the dataset, both
            (images,) int64.
        """
        for number in range(len(self._runs[0].task.evaluations)):
            parts = [run.task.evaluations[number] for run in self._runs]
            texts = self._encode_classes(number, parts)
            target = self._data.targets.get(parts[0].name)
            images = self._activations(target.images if target else self._data.eval_images)
            paths = [[record.path for record in part.records] for part in parts]
            chosen: list[list[Tensor]] = [[] for _ in parts]
            size = max(1, self._evaluated_at_once() // len(parts))
            for at in range(0, max(map(len, paths)), size):
                activations = [images.of(own[at : at + size]) for own in paths]
                features = self._packed.encode_image(activations)
                for run, (image, text) in enumerate(zip(features, texts, strict=True)):
                    logits = self._runs[run].classifier.logits(image, text)
                    chosen[run].append(logits.argmax(dim=-1).cpu())
            for part, positions in zip(parts, chosen, strict=True):
                predictions = torch.tensor(part.classes)[torch.cat(positions)]
                yield part, predictions, torch.tensor([r.label for r in part.records])

    def _evaluated_at_once(self) -> int:
        """Return the size of an evaluation batch, reduced in proportion to ``micro_batch``."""
        training = self._config.training
        if self._micro_batch is None:
            return training.eval_batch_size
        return training.eval_batch_size * self._micro_batch // training.batch_size

    def _encode_classes(self, number: int, parts: Sequence[Part]) -> Sequence[Tensor]:
        """Return each run's text features of the classes of its part, (classes, dim) float32."""
        target = self._data.targets.get(parts[0].name) or self._data
        templates = len(target.templates) if self._data.ensemble else 1
        if number not in self._texts:
            ids = [
                run.tokenize(part, templates) for run, part in zip(self._runs, parts, strict=True)
            ]
            if templates > 1 or sum(map(len, ids)) > PROMPTS_AT_ONCE:
                return class_features(self._packed, self._backbone, ids, templates, self._shared)
            self._texts[number] = begin_prompts(self._packed, self._backbone, ids, self._shared)
        return self._packed.encode_text(self._texts[number])

    def _batches(self) -> Iterator[Batch]:
        for batches in zip(*(run.batches() for run in self._runs), strict=True):
            labels = [own for _, own in batches]
            if not self._data.augment:
                images = self._activations(self._data.train_images)
                yield [images.of(paths) for paths, _ in batches], labels
                continue
            pixels = [
                run.augmented(paths) for run, (paths, _) in zip(self._runs, batches, strict=True)
            ]
            joined = torch.cat(pixels)
            activations = torch.cat(
                [
                    self._packed.begin_images(chunk)
                    for chunk in joined.split(self._micro_batch or len(joined))
                ]
            )
            yield activations.split([len(own) for own in pixels]), labels

    def _activations(self, path: Path) -> ImageActivations:
        return self._images.setdefault(
            str(path), ImageActivations(path, self._backbone, self._packed)
        )


def pack(runs: Sequence[TaskRun], backbone: Backbone, micro_batch: int | None = None) -> list[Pack]:
    """Group runs of equally many steps into packs, each at most as large as `AT_ONCE` allows."""
    vision = backbone.clip.config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    numbers = runs[0].config.training.batch_size * tokens * vision.hidden_size
    most = max(1, AT_ONCE // numbers)
    packs = []
    for _, group in groupby(runs, key=lambda run: run.steps_per_epoch):
        alike = list(group)
        packs += [
            Pack(alike[at : at + most], backbone, micro_batch) for at in range(0, len(alike), most)
        ]
    return packs


def _positions(part: Part) -> Tensor:
    """Return the position of each image's class among the part's classes, (images,) int64."""
    position = {class_id: index for index, class_id in enumerate(part.classes)}
    return torch.tensor([position[record.label] for record in part.records])
