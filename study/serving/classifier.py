"""A tuned classifier to use: images in, class probabilities out; new class names at any time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from study.data.images.decode import preprocess
from study.data.images.inputs import as_image
from study.data.images.rgb import PixelRange, checked_range
from study.data.images.table import normalize
from study.data.prompts import prompts, templates_of
from study.embedded import backbone_path
from study.errors import DataError
from study.method.delta import apply_delta, load_delta, refuse_other_backbone
from study.method.evaluation import encode_prompts
from study.method.model import Backbone, FewShotClassifier, load_backbone
from study.method.subsets import parse

BATCH = 256
"""Images at a time."""


@dataclass(frozen=True)
class TunedClassifier:
    """A backbone with a delta applied, and the classes that it tells apart."""

    backbone: Backbone
    model: FewShotClassifier
    class_names: tuple[str, ...]
    text_features: Tensor
    """(classes, dim) float32, unit length."""
    pixel_range: PixelRange | None = None
    """Black and white of images deeper than 8 bits; None: by their format."""

    @torch.no_grad()
    def probabilities(self, images: Iterable[object], *, files: bool = True) -> Tensor:
        """Give (images, classes) float32 on the CPU; rows add up to 1.

        Images are prepared as those of a trial are when it is judged.

        Args:
            images: each in one of the forms of `study.data.images.inputs.as_image`.
            files: whether text may name a file.

        Raises:
            DataError: telling which image cannot be read.
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
            logits = self.model.logits(self.model.encode_image(prepared), self.text_features)
            parts.append(logits.softmax(dim=-1).cpu())
        return torch.cat(parts)

    def _pixels(self, index: int, image: object, files: bool) -> np.ndarray:
        try:
            decoded = as_image(image, files=files, pixel_range=self.pixel_range)
            return preprocess(decoded, size=self.backbone.image_size, keep_aspect=False)
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
    """Load the backbone that a delta names and tune it by the delta.

    Args:
        delta: a file of `study.method.delta.save_delta`.
        class_names: None for those that it was tuned on.
        templates: features of several are averaged; None for the one that it was tuned with.
        backbone: hub name or folder, where the checkpoint lies elsewhere than the delta says.
        revision: of the backbone on the hub; None for the delta's.
        device: such as ``cpu`` or ``cuda:1``; ``auto`` takes a GPU where there is one.
        pixel_range: black and white of images deeper than 8 bits; None for the delta's.

    Raises:
        DeltaError: the delta cannot be read, or the backbone is not the one it was tuned from.
        BackboneError: the backbone cannot be loaded.
        DataError: class names, templates or the pixel range cannot be used.
    """
    tensors, info = load_delta(delta)
    bounds = pixel_range or info.pixel_range
    levels = checked_range(bounds) if bounds else None
    # Another checkpoint has other revisions than the one that the delta names.
    revision = revision or (info.revision if backbone in (None, info.backbone) else None)
    name = backbone or info.backbone
    loaded = load_backbone(backbone_path(name), revision=revision)
    refuse_other_backbone(delta, info, name, loaded.fingerprint)
    apply_delta(loaded.clip, tensors)
    loaded.clip.to(_device(device))
    model = FewShotClassifier(loaded, parse("none"))
    names = tuple(class_names or info.class_names)
    if len(set(names)) < len(names):
        raise DataError(f"class names must differ; got {list(names)}")
    chosen = templates_of("this classifier", templates or info.templates[:1])
    texts = [prompt for group in prompts(names, chosen) for prompt in group]
    input_ids = loaded.tokenize(texts).to(model.device)
    text_features = encode_prompts(model, input_ids, len(chosen))
    return TunedClassifier(loaded, model, names, text_features, levels)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DataError(f"device '{name}' is unknown; allowed are auto, cpu, cuda:0 …") from error
