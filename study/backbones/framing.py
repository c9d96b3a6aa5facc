"""How an image of any shape becomes the square that a model reads, as its checkpoint says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Interpolation = Literal["bicubic", "bilinear"]
"""A filter by which images are scaled."""
_FILTERS: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}
"""By their numbers in Pillow, which checkpoints have."""
_ALWAYS = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}


@dataclass(frozen=True)
class Framing:
    """How an image of any shape is brought to the square that a model reads."""

    squash: bool = False
    """Whether both sides are scaled to the square; else the shorter is, and the middle is kept."""
    interpolation: Interpolation = "bicubic"
    """The filter by which it is scaled."""


AS_CLIP = Framing()
"""How OpenAI's CLIP reads images."""
AS_SIGLIP = Framing(squash=True)
"""How SigLIP reads images."""


def framing_of(values: Mapping[str, Any], side: int, *, usual: Framing) -> Framing:
    """Return what the configuration of an image processor of transformers says.

    Args:
        values: its contents.
        side: the side of the model's images, in pixels.
        usual: what holds where nothing is said.

    Raises:
        ValueError: it prepares images in another way than a `Framing` can say.
    """
    given = {key: value for key, value in values.items() if value is not None}
    for key, only in _ALWAYS.items():
        if not math.isclose(given.get(key, only), only, rel_tol=1e-4):  # some are rounded
            raise ValueError(f"{key} is {given[key]!r}; allowed is {only!r}")
    square = {"height": side, "width": side}
    shorter = {"shortest_edge": side}
    size = given.get("size", square if usual.squash else shorter)
    size = size if isinstance(size, Mapping) else {"shortest_edge": size}
    if size not in (square, shorter):
        raise ValueError(f"size is {size}; allowed are {shorter} and {square}")
    crops, cropped = given.get("do_center_crop", not usual.squash), given.get("crop_size", side)
    if crops and cropped not in (side, square):
        raise ValueError(f"crop_size is {cropped}; allowed is {square}")
    if size == shorter and not crops:
        raise ValueError(f"do_center_crop is false with size {size}; allowed is true")
    resample = given.get("resample", 3)
    if resample not in _FILTERS:
        raise ValueError(f"resample is {resample!r}; allowed are 2 (bilinear) and 3 (bicubic)")
    return Framing(size == square, _FILTERS[resample])
