"""How images are read, from their files to the squares that a model takes, as one value."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from study.backbones.framing import CLIP_FRAMING, Framing
from study.data.records import OnCorrupt
from study.errors import DataError

PixelRange = tuple[float, float]
"""The values that become black and white, in images deeper than 8 bits a channel."""


def check_range(values: Sequence[float]) -> PixelRange:
    """Return a lower and an upper bound as a range.

    Raises:
        DataError: the values are not two finite numbers, the lower one first.
        TypeError: they are no sequence of numbers.
    """
    largest = sys.float_info.max / 2  # so that their difference is a number as well
    is_range = len(values) == 2 and -largest < values[0] < values[1] < largest
    if not is_range:
        raise DataError(
            f"pixel_range is {list(values)}; expected two finite numbers, the lower one first"
        )
    low, high = values
    return low, high


@dataclass(frozen=True)
class ImageReading:
    """How an image is read, by the keys of a study's section ``data`` and by its checkpoint.

    Photographs are always turned as their orientation tag says.
    """

    pixel_range: PixelRange | None = None
    """The values that become black and white in images deeper than 8 bits; None means those of
    their format. See `study.data.images.rgb.to_rgb`. The files of a model contain it."""
    on_corrupt: OnCorrupt = "fail"
    """What to do about unreadable images: fail, or leave them out and log them."""
    framing: Framing = CLIP_FRAMING
    """How an image of any shape is brought to the model's square, as the checkpoint says."""


DEFAULT_READING = ImageReading()
"""How images are read where nothing is configured."""
