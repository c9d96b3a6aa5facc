"""How images are read, from their files to the squares that a model takes, as one value."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from study.backbones.framing import AS_CLIP, Framing
from study.data.records import OnCorrupt
from study.errors import DataError

PixelRange = tuple[float, float]
"""The values that become black and white, in images deeper than 8 bits a channel."""
READ = "read"
"""The key of a field's metadata: what checks a value that a file or a user gives for it."""


def checked_range(values: Sequence[float]) -> PixelRange:
    """Return a lower and an upper bound as a range.

    Raises:
        DataError: they are not two finite numbers, the lower one first.
    """
    if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:
        raise DataError(
            f"pixel_range is {list(values)}; allowed are two finite numbers, the lower one first"
        )
    return values[0], values[1]


@dataclass(frozen=True)
class ImageReading:
    """How an image is read.

    A study sets it by the keys of its section ``data`` that have the names of these fields, and by
    its checkpoint. Photographs are always turned as their orientation tag says.

    A field with a check is a fact of the model too: its delta and its registered version hold it,
    and images to predict are read by it. Such a field says what changes pixels, and its default is
    what files without it were read by.
    """

    pixel_range: PixelRange | None = field(default=None, metadata={READ: checked_range})
    """The values that become black and white in images deeper than 8 bits; None means those of
    their format. See `study.data.images.rgb.to_rgb`."""
    on_corrupt: OnCorrupt = "fail"
    """What to do about unreadable images: fail, or leave them out and log them."""
    framing: Framing = AS_CLIP
    """How an image of any shape is brought to the model's square, as the checkpoint says."""

    def changed(self) -> dict[str, Any]:
        """Return the facts of a model that are not as usual, by name."""
        facts = {name: getattr(self, name) for name in KEPT}
        return {name: fact for name, fact in facts.items() if fact != getattr(AS_USUAL, name)}

    def kept(self) -> dict[str, Any]:
        """Return the JSON values that the files of a model hold: the range, and what is changed."""
        facts = {"pixel_range": self.pixel_range, **self.changed()}
        return {
            name: list(fact) if isinstance(fact, tuple) else fact for name, fact in facts.items()
        }

    @property
    def stamp(self) -> str:
        """A text that differs for readings that give an image other pixels, before it is framed."""
        others = self.changed()
        others.pop("pixel_range", None)
        return " ".join([str(self.pixel_range), *(f"{k}={fact}" for k, fact in others.items())])


KEPT: Mapping[str, Callable[[Any], Any]] = {
    own.name: own.metadata[READ] for own in fields(ImageReading) if READ in own.metadata
}
"""The fields that a model's files hold, with what checks their values."""
AS_USUAL = ImageReading()
"""How images are read where nothing is said."""


def configured(keys: Mapping[str, Any]) -> ImageReading:
    """Return how a study reads images, by the keys of its section ``data``."""
    names = {own.name for own in fields(ImageReading)}
    return ImageReading(**{name: value for name, value in keys.items() if name in names})


def checked_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields that a file or a user gives; None means nothing is given.

    Raises:
        DataError: a value is not allowed.
        TypeError: there is no such field, or a value is of a wholly other type.
    """
    if strange := sorted(values.keys() - KEPT):
        raise TypeError(f"{', '.join(strange)} says nothing of how images are read")
    return {name: KEPT[name](value) for name, value in values.items() if value is not None}
