"""The features that the model of a task, as trained so far, computes of images and prompts."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from study.data.images.table import normalize, random_resized_crop_flip
from study.data.prompts import prompts
from study.data.records import ImagePaths, in_chunks, result_names
from study.data.tasks import Part
from study.method.delta import Tensors
from study.method.head import VIEWS
from study.trial.activations import CHUNK, begin_images, class_features, open_table
from study.trial.feature_cache import cached_features
from study.trial.study import Target
from study.trial.task_model import TaskModel

ClassIds = Sequence[int]
"""The ids of classes in their dataset."""


def labels_of(train: Part) -> Tensor:
    """Return the position of each training image's class among the classes, (images,) int64."""
    position = {class_id: index for index, class_id in enumerate(train.classes)}
    return torch.tensor([position[record.label] for record in train.records])


def tokenize(model: TaskModel, target: Target, classes: ClassIds, templates: int = 1) -> Tensor:
    """Return the token ids of classes' prompts, (classes · templates, length) int64.

    The rows of one class stand together.

    Args:
        model: the model.
        target: the names and templates of the prompts.
        classes: the ids of the classes.
        templates: the number of prompts of each class.
    """
    names = [target.class_names[class_id] for class_id in classes]
    texts = [*chain.from_iterable(prompts(names, target.templates[:templates]))]
    return model.classifier.backbone.tokenize(texts).to(model.classifier.device)


def text_features(model: TaskModel, target: Target, classes: ClassIds) -> Tensor:
    """Return the text features of a target's classes by its prompts, (classes, dim) float32."""
    templates = len(target.templates)
    ids = tokenize(model, target, classes, templates)
    return class_features(model.staged, ids, templates, model.data.caches)


def image_features(model: TaskModel, images: Path, paths: ImagePaths) -> Iterator[Tensor]:
    """Yield the features of images of a table in batches, (batch, dim) float32."""
    for batch in in_chunks(paths, model.images_at_once):
        yield model.staged.encode_image(begin_images(model.staged, images, batch))


def training_features(model: TaskModel, views: int = VIEWS) -> Tensor:
    """Return the features of the training images, (images, dim).

    If images are augmented, (views · images, dim) of several views of each, view after view.
    """
    data = model.data
    paths = model.task.train.paths
    if not data.augment:
        return torch.cat([*image_features(model, data.train_images, paths)])
    if model.staged.images_are_frozen:
        begun = cached_views(model, paths, views).flatten(0, 1)
        return torch.cat([model.staged.encode_image(b) for b in begun.split(model.images_at_once)])
    generator = torch.Generator().manual_seed(model.seed)
    features = []
    for batch in in_chunks(paths * views, model.images_at_once):
        images = augment_images(model, batch, generator)
        features.append(model.staged.encode_image(images))
    return torch.cat(features)


def trained_classes(model: TaskModel, part: Part) -> ClassIds:
    """Return the class in training of each class of a part; −1 where there is none."""
    if part.name not in model.data.targets:
        return part.classes
    # The ids of a target's classes are its own, so that classes of equal names are the same.
    trained = result_names(model.data.class_names)
    tested = result_names(model.data.targets[part.name].class_names)
    ids = {trained[label]: label for label in model.task.train.classes}
    return [ids.get(tested[label], -1) for label in part.classes]


def augment_images(model: TaskModel, paths: ImagePaths, generator: torch.Generator) -> Tensor:
    """Return training images, cropped and flipped at random, as begun images."""
    backbone = model.classifier.backbone
    images = open_table(model.data.train_images).images(paths)
    device = model.classifier.device
    pixels = random_resized_crop_flip(images, backbone.image_size, generator, device=device)
    pixels = normalize(pixels, backbone.image_mean, backbone.image_std)
    chunks = pixels.split(model.micro_batch or len(paths))
    return torch.cat([model.staged.begin_images(chunk) for chunk in chunks])


def cached_views(model: TaskModel, paths: ImagePaths, views: int) -> Tensor:
    """Return augmented views of training images, begun: (views, images, …).

    They depend on the seed but not on the task or the tuned parameters: all tasks and trials of a
    seed share them. So all training images of the data are encoded, whatever images are asked for.

    Args:
        model: the model.
        paths: the training images.
        views: the number of views of each image.
    """
    data = model.data
    table = open_table(data.train_images)
    begun = {}
    # Processes that need them at the same time begin with different ones, and share the work.
    for view in sorted(range(views), key=lambda view: (view + os.getpid()) % views):
        seed = model.config.seed * views + view
        identity = {
            "what": "a view of images before the projection",
            "images": table.content_hash,
            "seed": str(seed),
        }
        compute = partial(_begin_view, model, table.paths, seed)
        begun[view] = cached_features(data.caches, identity, model.classifier, compute)
    rows = torch.tensor(table.rows(paths), device=model.classifier.device)
    return torch.stack([begun[view]["view"][rows] for view in range(views)])


def _begin_view(model: TaskModel, paths: ImagePaths, seed: int) -> Tensors:
    """Return a view of each image, cropped and flipped at random, and begun."""
    generator = torch.Generator().manual_seed(seed)
    chunks = [augment_images(model, chunk, generator) for chunk in in_chunks(paths, CHUNK)]
    return {"view": torch.cat(chunks)}
