"""The model of one task: its classifier, what passes its encoders, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.trial_settings import TrialSettings
from study.data.images.table import normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.data.tasks import Part, Task
from study.method.delta import head_tensors
from study.method.head import Head
from study.method.model import FewShotClassifier, at_strength
from study.method.peer_model import PeerModel, PlainPass
from study.method.peers import PEERS, PeerStart
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.storage.atomic import sha256_of
from study.trial.activations import (
    CHUNK,
    begin_images,
    cached_features,
    class_features,
    open_table,
)
from study.trial.study import TrialConfig, TrialData


@dataclass(frozen=True)
class TaskModel:
    """The model of one task, with what the task and its trial are.

    The class itself tunes nothing: `study.trial.task_training` trains the classifier in place, and
    `study.trial.task_evaluation` reads it as it is.
    """

    config: TrialConfig
    data: TrialData
    backbone: Backbone
    """The backbone, which stays unchanged."""
    task: Task
    classifier: FewShotClassifier
    """The classifier, whose tuned parameters change in training."""
    staged: StagedClassifier | PlainPass
    """The pass of the same classifier that training and evaluation take."""
    seed: int
    """The seed of batches, augmentation and dropout, another one for each task."""
    labels: Tensor
    """The position of each training image's class among the classes of training, (images,) int64
    on the model's device."""
    micro_batch: int | None
    """See `study.trial.run_trial.run_trial`."""
    distill_weight: float
    """The weight of the loss term beside the cross-entropy."""
    views: int | None
    """How many augmented views of each image are kept, see `study.method.peer_model.PeerModel`;
    None means that each epoch augments anew, or that nothing is augmented."""

    @property
    def paths(self) -> list[str]:
        """The paths of the training images in their table."""
        return [record.path for record in self.task.train.records]

    @property
    def caches(self) -> Path:
        """The folder of the feature cache, see `study.trial.activations.cached_features`."""
        return self.data.train_images.parent

    @property
    def images_at_once(self) -> int:
        """The number of images that pass the encoder at once in an evaluation."""
        size = self.config.training.eval_batch_size
        if self.micro_batch is None:
            return size
        return max(1, size * self.micro_batch // self.config.training.batch_size)

    def tokenize(self, part: str, classes: Sequence[int], templates: int = 1) -> Tensor:
        """Return the token ids of classes' prompts, (classes · templates, length) int64.

        The rows of one class stand together.

        Args:
            part: the name of the part whose prompts they are.
            classes: the ids of the classes.
            templates: the number of prompts of each class.
        """
        target = self.data.target(part)
        names = [target.class_names[c] for c in classes]
        texts = chain.from_iterable(prompts(names, target.templates[:templates]))
        return self.backbone.tokenize([*texts]).to(self.classifier.device)

    def text_features(self, part: Part, classes: Sequence[int]) -> Tensor:
        """Return the text features of classes, by the prompts of a part, (classes, dim) float32."""
        templates = len(self.data.target(part.name).templates) if self.data.ensemble else 1
        ids = self.tokenize(part.name, classes, templates)
        return class_features(self.staged, self.backbone, ids, templates, self.caches)

    def image_features(self, images: Path, paths: Sequence[str]) -> Iterator[Tensor]:
        """Yield the features of images of a table in batches, (batch, dim) float32."""
        for at in range(0, len(paths), self.images_at_once):
            wanted = paths[at : at + self.images_at_once]
            yield self.staged.encode_image(begin_images(self.staged, self.backbone, images, wanted))

    def training_images(self, paths: Sequence[str], generator: torch.Generator) -> Tensor:
        """Return begun training images, augmented by the generator if the trial augments."""
        if self.data.augment:
            return self.augmented(paths, generator)
        return begin_images(self.staged, self.backbone, self.data.train_images, paths)

    def augmented(self, paths: Sequence[str], generator: torch.Generator) -> Tensor:
        """Return training images, cropped and flipped at random, as begun images."""
        pixels = random_resized_crop_flip(
            open_table(self.data.train_images).images(paths),
            self.backbone.image_size,
            generator,
            device=self.classifier.device,
        )
        pixels = normalize(pixels, self.backbone.image_mean, self.backbone.image_std)
        chunks = pixels.split(self.micro_batch or len(paths))
        return torch.cat([self.staged.begin_images(chunk) for chunk in chunks])

    def kept_views(self, views: int) -> Tensor:
        """Return augmented views of the training images, begun: (views, images, …).

        They depend on the seed and not on what is tuned, so that all trials of the seed share them.

        Args:
            views: the number of views of each image.
        """
        identity = {
            "what": f"{views} views of images before the projection",
            "images": open_table(self.data.train_images).content_hash,
            "paths": sha256_of("\n".join(self.paths).encode()),
            "seed": str(self.seed),
        }

        def begin() -> dict[str, Tensor]:
            generator, paths = torch.Generator().manual_seed(self.seed), self.paths * views
            starts = range(0, len(paths), CHUNK)
            chunks = [self.augmented(paths[start : start + CHUNK], generator) for start in starts]
            return {"views": torch.cat(chunks)}

        precision = self.classifier.precision
        kept = cached_features(self.caches, identity, self.backbone, precision, begin)
        return kept["views"].unflatten(0, (views, -1))

    def parameters(self) -> dict[str, Tensor]:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        return {
            t.name: t.parameter.detach().to("cpu", copy=True).contiguous()
            for t in self.classifier.tuned
        }

    def delta(self, use: TrialSettings, head: Head | None) -> dict[str, Tensor]:
        """Return what the model is used with: the parameters at a use's strength, and a head.

        They are on the CPU, by the names of `study.method.delta`; see `TrialSettings.writes_delta`.
        """
        if not use.writes_delta:
            return {}
        with at_strength(self.classifier.tuned, use.strength):
            return {**self.parameters(), **head_tensors(head)}


def make_task_model(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    task: Task,
    index: int,
    *,
    micro_batch: int | None = None,
) -> TaskModel:
    """Return the untrained model of a task.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        task: the task to train and evaluate.
        index: the position of the task among the trial's tasks; it varies the seed.
        micro_batch: see `study.trial.run_trial.run_trial`.
    """
    seed = config.seed * 1_000_003 + index
    built = _build(config, backbone, task, seed)
    position = {class_id: index for index, class_id in enumerate(task.train.classes)}
    labels = [position[record.label] for record in task.train.records]
    return TaskModel(
        config=config,
        data=data,
        backbone=backbone,
        task=task,
        classifier=built.classifier,
        staged=built.staged,
        seed=seed,
        labels=torch.tensor(labels, device=built.classifier.device),
        micro_batch=micro_batch,
        distill_weight=built.distill_weight,
        views=built.views if data.augment else None,
    )


def _build(config: TrialConfig, backbone: Backbone, task: Task, seed: int) -> PeerModel:
    """Return the untrained classifier of a subset or of a peer, with its pass."""
    settings, precision = config.settings, config.training.computed_in
    if settings.peer is None:
        classifier = FewShotClassifier(backbone, parse(settings.subset), precision=precision)
        return PeerModel(classifier, StagedClassifier(classifier), settings.distill_weight)
    start = PeerStart(
        backbone=backbone,
        numbers=settings.peer.numbers,
        seed=seed,
        precision=precision,
        shots=len(task.train.records) / len(task.train.classes),
    )
    return PEERS[settings.peer.method].build(start)
