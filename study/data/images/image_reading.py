"""How images are read, from their files to the squares that a model takes, as one value."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from study.backbones.framing import CLIP_FRAMING, Framing
from study.data.records import OnCorrupt
from study.errors import DataError
from study.storage.ledger_files import JsonObject

PixelRange = tuple[float, float]
"""The values that become black and white, in images deeper than 8 bits a channel."""
CHECK = "check"
"""The key of a field's metadata with the function that checks the value of a file or a user."""


def check_range(values: Sequence[float]) -> PixelRange:
    """Return a lower and an upper bound as a range.

    Raises:
        DataError: the values are not two finite numbers, the lower one first.
    """
    largest = sys.float_info.max / 2  # so that their difference is a number as well
    is_range = len(values) == 2 and -largest < values[0] < values[1] < largest
    if not is_range:
        raise DataError(
            f"pixel_range is {list(values)}; allowed are two finite numbers, the lower one first"
        )
    low, high = values
    return low, high


@dataclass(frozen=True)
class ImageReading:
    """How an image is read.

    A study sets it by the keys of its section ``data`` that have the names of these fields, and by
    its checkpoint. Photographs are always turned as their orientation tag says.

    A field with a check is also a fact of the model: the delta and the registered version contain
    it, and images to predict are read by it. Such a field changes pixels, and its default is what
    files without the field were read by.
    """

    pixel_range: PixelRange | None = field(default=None, metadata={CHECK: check_range})
    """The values that become black and white in images deeper than 8 bits; None means those of
    their format. See `study.data.images.rgb.to_rgb`."""
    on_corrupt: OnCorrupt = "fail"
    """What to do about unreadable images: fail, or leave them out and log them."""
    framing: Framing = CLIP_FRAMING
    """How an image of any shape is brought to the model's square, as the checkpoint says."""

    def changed_facts(self) -> JsonObject:
        """Return the facts of a model that differ from their defaults, by name."""
        values = {name: getattr(self, name) for name in MODEL_FACTS}
        return {n: value for n, value in values.items() if value != getattr(DEFAULT_READING, n)}

    def model_facts(self) -> JsonObject:
        """Return the JSON values that the files of a model contain: the range, and all changes."""
        facts = {"pixel_range": self.pixel_range, **self.changed_facts()}
        for name, value in facts.items():
            if isinstance(value, tuple):
                facts[name] = list(value)
        return facts

    @property
    def identity(self) -> str:
        """A text that differs for readings that give an image other pixels before its framing."""
        changes = self.changed_facts()
        changes.pop("pixel_range", None)
        others = [f"{name}={value}" for name, value in changes.items()]
        return " ".join([str(self.pixel_range), *others])


MODEL_FACTS: Mapping[str, Callable[[Any], Any]] = {
    attribute.name: attribute.metadata[CHECK]
    for attribute in fields(ImageReading)
    if CHECK in attribute.metadata
}
"""The fields that the files of a model contain, with the functions that check their values."""
DEFAULT_READING = ImageReading()
"""How images are read where nothing is configured."""


def reading_of_config(keys: Mapping[str, Any]) -> ImageReading:
    """Return how a study reads images, by the keys of its section ``data``."""
    names = {attribute.name for attribute in fields(ImageReading)}
    return ImageReading(**{name: value for name, value in keys.items() if name in names})


def check_model_facts(values: Mapping[str, Any]) -> JsonObject:
    """Return the checked fields of a file or of a user, without those that are None.

    Raises:
        DataError: a value is not allowed.
        TypeError: there is no such field, or a value is of a wholly other type.
    """
    strange = sorted(values.keys() - MODEL_FACTS)
    if strange:
        raise TypeError(f"{', '.join(strange)} says nothing of how images are read")
    return {name: MODEL_FACTS[name](value) for name, value in values.items() if value is not None}
