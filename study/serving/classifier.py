"""A tuned classifier, which computes the probabilities of any class names for images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.data.images.decode import preprocess
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import LONGEST, read_any_image
from study.data.images.table import normalize
from study.data.prompts import prompts, refuse_unreadable_names, templates_of
from study.data.records import is_text, result_names
from study.errors import DataError, DeltaError, StudyError
from study.method.delta import DeltaInfo, apply_delta, load_delta, read_head
from study.method.device import choose_device
from study.method.head import Head
from study.method.model import FewShotClassifier, encode_prompts
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.serving.image_files import find_images
from study.trial.machine_faults import is_out_of_memory

if TYPE_CHECKING:
    from pandas import DataFrame

IMAGES_PER_BATCH = 64
"""The number of images that are encoded at once."""
Pixels = NDArray[np.uint8]
"""An image at CLIP's size, (size, size, 3)."""


@dataclass(frozen=True, eq=False)
class TunedClassifier:
    """A backbone with a delta applied, and the classes to choose between."""

    name: str
    """What the model is, in words."""
    backbone: Backbone = field(repr=False)
    """The backbone, to which the delta has been applied."""
    model: FewShotClassifier = field(repr=False)
    """The classifier built on the backbone."""
    class_names: tuple[str, ...]
    """The names of the classes in results, in the order of their ids."""
    class_features: Tensor = field(repr=False)
    """The vectors that images are compared with, (classes, dim) float32 of unit length: the text
    features of each class, or its row of the linear head."""
    reading: ImageReading = DEFAULT_READING
    """How images are read."""
    from_head: tuple[str, ...] = field(default=(), repr=False)
    """The names of the classes with a row of the linear head, in the order of their ids."""

    def probabilities(self, images: Iterable[object], *, files: bool = True) -> Tensor:
        """Return class probabilities, (images, classes) float32 on the CPU; rows sum to 1.

        Args:
            images: see `classify`.
            files: see `classify`.

        Raises:
            StudyError: an image cannot be read; the message has its position.
        """
        rows = []
        for index, row in enumerate(self.classify(images, files=files)):
            if isinstance(row, StudyError):
                raise type(row)(f"image {index}: {row}") from row
            rows.append(row)
        return torch.stack(rows) if rows else torch.empty(0, len(self.class_names))

    def predict(self, images: Any, *, files: bool = True) -> "DataFrame":
        """Return the class of each image, and its probabilities.

        Args:
            images: an image or any number of them: paths, folders, Pillow images, arrays (height,
                width) or (height, width, 3) of whole numbers from 0 to 255, or encoded bytes.
            files: see `classify`.

        Returns:
            A row per image with its ``class_name``, the ``probability`` of that, and
            ``probabilities``, a dictionary of all classes. The index has the path of a file, or
            the position of another image.

        Raises:
            StudyError: an image cannot be read; the message has its position.
        """
        import pandas as pd

        is_array = isinstance(images, np.ndarray) and images.ndim < 4
        if is_array or isinstance(images, str | bytes) or not isinstance(images, Iterable):
            images = [images]
        given: list[object] = []
        for image in images:
            is_path = files and isinstance(image, str | Path) and os.path.exists(image)  # noqa: PTH110 -- False for all other text
            given += find_images([str(image)]) if is_path else [image]
        rows = self.probabilities(given, files=files)
        best = rows.max(dim=1)
        columns = {
            "class_name": [self.class_names[index] for index in best.indices.tolist()],
            "probability": best.values.tolist(),
            "probabilities": [
                dict(zip(self.class_names, row, strict=True)) for row in rows.tolist()
            ],
        }
        index = [str(one) if isinstance(one, Path) else at for at, one in enumerate(given)]
        return pd.DataFrame(columns, index=index)

    def classify(
        self, images: Iterable[object], *, files: bool = True
    ) -> Iterator[Tensor | StudyError]:
        """Yield each image's class probabilities, (classes,) float32 on the CPU, or its fault.

        Images are preprocessed as in the evaluation of a trial. One batch is in memory at a time;
        threads decode it.

        Args:
            images: images in any of the forms of `study.data.images.sources.read_any_image`.
            files: whether a string may be the path of a file.
        """
        remaining = iter(images)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while batch := list(islice(remaining, IMAGES_PER_BATCH)):
                decoded = list(pool.map(partial(self.read_pixels, files=files), batch))
                logits = self._logits(
                    [item for item in decoded if not isinstance(item, StudyError)]
                )
                rows = iter(logits.softmax(dim=-1))
                for item in decoded:
                    yield item if isinstance(item, StudyError) else next(rows)

    def read_pixels(self, image: object, *, files: bool = True) -> Pixels | StudyError:
        """Return an image at CLIP's size, (size, size, 3) uint8, or why it cannot be read."""
        try:
            rgb = read_any_image(image, files=files, reading=self.reading)
        except StudyError as error:
            return error
        size, framing = self.backbone.image_size, self.reading.framing
        return preprocess(rgb, size=size, keep_aspect=False, framing=framing)

    @torch.no_grad()
    def _logits(self, pixels: Sequence[Pixels]) -> Tensor:
        """Return scaled cosines, (images, classes) float32 on the CPU.

        Images that do not fit into memory at once are encoded in two halves.
        """
        if not pixels:
            return torch.empty(0, len(self.class_names))
        try:
            batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(self.model.device)
            normalized = normalize(batch, self.backbone.image_mean, self.backbone.image_std)
            staged = StagedClassifier(self.model)  # as trials do, and with less work
            features = staged.encode_image(staged.begin_images(normalized))
            return self.model.logits(features, self.class_features).cpu()
        except Exception as error:  # PyTorch has several types for it
            if len(pixels) == 1 or not is_out_of_memory(error):
                raise
        half = len(pixels) // 2  # only here, where the memory of the whole is free again
        return torch.cat([self._logits(pixels[:half]), self._logits(pixels[half:])])


def load_classifier(
    delta: Path,
    *,
    class_names: Sequence[str] | None = None,
    backbone: str | None = None,
    revision: str | None = None,
    device: str = "auto",
) -> TunedClassifier:
    """Load the backbone that a delta names and apply the delta to it.

    If the delta has a linear head, the classes that it was trained on use its rows. All other
    classes use their text features, which do not depend on the head.

    The delta's own names may be those of a published list that repeats some; other names may not.

    Args:
        delta: a file written by `study.method.delta.save_delta`.
        class_names: the classes to choose between, two or more; None means those in the delta.
        backbone: the hub name or folder of the checkpoint; None means the one in the delta.
        revision: the backbone's revision on the hub; None means the one in the delta, unless
            ``backbone`` is another checkpoint.
        device: a device such as ``cpu`` or ``cuda:1``; see `study.method.device.choose_device`.

    Raises:
        DeltaError: the delta cannot be read, or the backbone is not the one it was tuned from.
        BackboneError: the backbone cannot be loaded.
        DataError: the class names or the device cannot be used.
    """
    chosen_device = choose_device(device)
    if class_names is not None:
        class_names = _check_names(class_names)
    loaded, head, info = _load_tuned_backbone(delta, backbone, revision)
    names = class_names or info.class_names
    are_own = names == info.class_names
    refuse_unreadable_names("class_names", names, loaded.tokenizer, repeated=are_own)
    head_classes = head.classes if head else ()
    class_ids = list(range(len(names)))
    if not are_own:
        id_of_name = {info.class_names[class_id]: class_id for class_id in reversed(head_classes)}
        class_ids = [id_of_name.get(name, -1) for name in names]
    templates = templates_of("this classifier", info.templates)
    loaded.clip.to(chosen_device)
    model = FewShotClassifier(loaded, parse("none"))
    texts = [prompt for of_class in prompts(names, templates) for prompt in of_class]
    token_ids = loaded.tokenize(texts).to(chosen_device)
    features = encode_prompts(model, token_ids, len(templates))
    if head:
        features = head.replace_in(features, class_ids)
    shown = result_names(names)
    from_head = tuple(shown[at] for at, id_ in enumerate(class_ids) if id_ in head_classes)
    reading = ImageReading(info.pixel_range, framing=loaded.framing)
    return TunedClassifier(str(delta), loaded, model, shown, features, reading, from_head)


def _load_tuned_backbone(
    delta: Path, backbone: str | None, revision: str | None
) -> tuple[Backbone, Head | None, DeltaInfo]:
    """Return a tuned backbone on the CPU, the delta's linear head, and the delta's description."""
    tensors, info = load_delta(delta)
    name = backbone or info.backbone
    # The revision in the delta belongs to its own checkpoint and means nothing for another one.
    if not revision:
        revision = info.revision if name == info.backbone else None
    loaded = load_backbone(backbone_path(name), revision=revision)
    if loaded.fingerprint != info.fingerprint:
        raise DeltaError(
            f"delta {delta} was tuned from '{info.backbone}' with fingerprint {info.fingerprint}; "
            f"backbone '{name}' has fingerprint {loaded.fingerprint}"
        )
    apply_delta(loaded.clip, tensors)
    return loaded, read_head(tensors, info), info


def _check_names(names: Any) -> tuple[str, ...]:
    """Return a user's class names as a tuple.

    Raises:
        DataError: they are not a list of two or more texts.
    """
    # A single text is iterable too, by its letters.
    texts = tuple(names) if isinstance(names, Sequence) and not isinstance(names, str) else ()
    are_valid = all(isinstance(text, str) and text.strip() and is_text(text) for text in texts)
    if len(texts) < 2 or not are_valid:
        raise DataError(
            f"class_names is {repr(names)[:LONGEST]}; expected a list of 2 or more texts"
        )
    return texts
