"""A tuned classifier to use: it turns images into probabilities of any class names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from study.data.images.decode import preprocess
from study.data.images.rgb import PixelRange, checked_range
from study.data.images.sources import as_image
from study.data.images.table import normalize
from study.data.prompts import prompts, templates_of
from study.errors import DataError
from study.method.delta import load_tuned
from study.method.model import Backbone, FewShotClassifier, encode_prompts
from study.method.subsets import parse

BATCH = 256
"""The number of images that are encoded at once."""


@dataclass(frozen=True)
class TunedClassifier:
    """A backbone with a delta applied, and the classes that it chooses between."""

    backbone: Backbone
    """The backbone, into which the delta is written."""
    model: FewShotClassifier
    """The classifier built on the backbone."""
    class_names: tuple[str, ...]
    """The names of the classes, in the order of their ids."""
    class_features: Tensor
    """What images are compared with, (classes, dim) float32 of unit length: the text features of
    each class, or its row of the linear head."""
    pixel_range: PixelRange | None = None
    """The values that become black and white in deep images; None means those of their format."""

    @torch.no_grad()
    def probabilities(self, images: Iterable[object], *, files: bool = True) -> Tensor:
        """Return class probabilities, (images, classes) float32 on the CPU; rows add up to 1.

        Images are preprocessed as in the evaluation of a trial.

        Args:
            images: images in any of the forms of `study.data.images.sources.as_image`.
            files: whether a string may be the path of a file.

        Raises:
            DataError: an image cannot be read; the message has its position.
        """
        remaining = iter(enumerate(images))
        parts = [torch.empty(0, len(self.class_names))]
        while batch := list(islice(remaining, BATCH)):
            pixels = np.stack([self._pixels(index, image, files) for index, image in batch])
            prepared = normalize(
                torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.model.device),
                self.backbone.image_mean,
                self.backbone.image_std,
            )
            logits = self.model.logits(self.model.encode_image(prepared), self.class_features)
            parts.append(logits.softmax(dim=-1).cpu())
        return torch.cat(parts)

    def _pixels(self, index: int, image: object, files: bool) -> np.ndarray:
        try:
            return preprocess(
                as_image(image, files=files, pixel_range=self.pixel_range),
                size=self.backbone.image_size,
                keep_aspect=False,
            )
        except DataError as error:
            raise DataError(f"image {index}: {error}") from error


def load_classifier(
    delta: Path,
    *,
    class_names: Sequence[str] | None = None,
    templates: Sequence[str] | None = None,
    backbone: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    pixel_range: Sequence[float] | None = None,
) -> TunedClassifier:
    """Load the backbone that a delta names and apply the delta to it.

    If the delta has a linear head, the classes that it was trained on have its rows, whatever the
    templates. Any other class has its text features, which do not depend on the head.

    Args:
        delta: a file written by `study.method.delta.save_delta`.
        class_names: the classes to choose between; None means those in the delta.
        templates: prompt templates, whose features are averaged; None means the delta's first, the
            one it was tuned with.
        backbone: the hub name or folder of the checkpoint; None means the one in the delta.
        revision: the backbone's revision on the hub; None means the one in the delta, unless
            ``backbone`` names another checkpoint.
        device: a device such as ``cpu`` or ``cuda:1``; ``auto`` means a GPU if there is one.
        pixel_range: the values that become black and white in images deeper than 8 bits; None means
            those in the delta.

    Raises:
        DeltaError: the delta cannot be read, or the backbone is not the one it was tuned from.
        BackboneError: the backbone cannot be loaded.
        DataError: class names, templates or the pixel range cannot be used.
    """
    given = checked_range(pixel_range) if pixel_range else None
    loaded, head, info = load_tuned(delta, backbone, revision=revision)
    levels = given or (checked_range(info.pixel_range) if info.pixel_range else None)
    loaded.clip.to(_device(device))
    model = FewShotClassifier(loaded, parse("none"))
    names = tuple(class_names or info.class_names)
    if len(set(names)) < len(names):
        raise DataError(f"class names must differ; got {list(names)}")
    chosen = templates_of("this classifier", templates or info.templates[:1])
    texts = [prompt for group in prompts(names, chosen) for prompt in group]
    features = encode_prompts(model, loaded.tokenize(texts).to(model.device), len(chosen))
    if head is not None:
        features = head.replace_in(features, names)
    return TunedClassifier(loaded, model, names, features, levels)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DataError(f"device '{name}' is unknown; allowed are auto, cpu, cuda:0 …") from error
