"""How an image of any shape becomes the square that a model reads, as its checkpoint says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Interpolation = Literal["bicubic", "bilinear"]
"""A filter by which images are scaled."""
_FILTERS: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""The filters by their numbers in Pillow, which stand in checkpoints."""
_ALWAYS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}


@dataclass(frozen=True)
class Framing:
    """How an image of any shape is brought to the square that a model reads."""

    squash: bool = False
    """Whether both sides are scaled to the square. Otherwise the shorter side is scaled, and the
    middle of the image is cut out."""
    interpolation: Interpolation = "bicubic"
    """The filter by which images are scaled."""


CLIP_FRAMING = Framing()
"""How images become squares for OpenAI's CLIP."""
SIGLIP_FRAMING = Framing(squash=True)
"""How images become squares for SigLIP."""


def read_framing(values: Mapping[str, Any], side: int, *, default: Framing) -> Framing:
    """Return the framing that an image processor of transformers is configured with.

    Args:
        values: the configuration of the processor.
        side: the side of the model's images, in pixels.
        default: the framing for keys that are absent.

    Raises:
        ValueError: the processor prepares images in a way that is no `Framing`.
    """
    settings = {key: value for key, value in values.items() if value is not None}
    for key, allowed in _ALWAYS.items():
        value = settings.get(key, allowed)
        if not math.isclose(value, allowed, rel_tol=1e-4):  # some checkpoints have rounded values
            raise ValueError(f"{key} is {value!r}; expected {allowed!r}")
    square = {"height": side, "width": side}
    shorter = {"shortest_edge": side}
    default_size = shorter
    if default.squash:
        default_size = square
    size = settings.get("size", default_size)
    if not isinstance(size, Mapping):
        size = {"shortest_edge": size}
    if size not in (square, shorter):
        raise ValueError(f"size is {size}; expected {shorter} or {square}")
    is_cropped = settings.get("do_center_crop", not default.squash)
    crop_size = settings.get("crop_size", side)
    if is_cropped and crop_size not in (side, square):
        raise ValueError(f"crop_size is {crop_size}; expected {square}")
    if size == shorter and not is_cropped:
        raise ValueError(f"do_center_crop is false with size {size}; expected true")
    resample = settings.get("resample", 3)
    if resample not in _FILTERS:
        raise ValueError(f"resample is {resample!r}; expected 2 (bilinear) or 3 (bicubic)")
    return Framing(size == square, _FILTERS[resample])
