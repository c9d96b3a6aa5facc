"""The types of values that several sections of a configuration share."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    Tag,
)

from study.method.training_options import MAX_WEIGHT

# The bounds of numbers are far beyond useful values; they refuse typing errors.
HIGHEST_RATE = 1000
"""The highest learning rate."""
Count = Annotated[StrictInt, Field(ge=1, le=100_000)]
Positive = Annotated[StrictFloat, Field(gt=0)]
Rate = Annotated[StrictFloat, Field(gt=0, le=HIGHEST_RATE)]
"""A learning rate."""
Decay = Annotated[StrictFloat, Field(ge=0, le=100)]
"""A weight decay."""


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound is above the upper bound")
    return bounds


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""The pattern of a study's name."""
Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)]
LABEL = r"^[a-z0-9][a-z0-9._-]{0,39}$"
"""The pattern of a label."""
Label = Annotated[str, Field(pattern=LABEL)]
"""The label of a baseline or of an ablation's cell; the folders of its trials are named by it."""
ObjectName = Annotated[str, Field(min_length=1, max_length=100)]
"""The name of something that code provides, such as a protocol."""
Range = Annotated[tuple[Rate, Rate], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform draw of a learning rate."""


RateOrRange = Annotated[
    Annotated[Rate, Tag("[number]")] | Annotated[Range, Tag("[range]")],
    Discriminator(lambda rate: "[range]" if isinstance(rate, list | tuple) else "[number]"),
]
"""A fixed learning rate, or the range of one that is searched."""
Weight = Annotated[StrictFloat, Field(gt=0, le=MAX_WEIGHT)]
Weights = Annotated[tuple[Weight, Weight], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform draw of λ."""
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=100)]
"""Learning rates to try."""

LONGEST_PATH, LONGEST_NAME = 4000, 255
"""The longest path and name in bytes; the path leaves room for the files in a study's folder."""
VARIABLE = re.compile(r"\$\{\w+|(?:^|/)\$[A-Za-z_]")
"""A variable of the environment as a shell has it: ``${NAME}``, or ``$NAME`` as a folder."""


def expand_home(path: Any) -> Any:
    """Return a path with the home folder in place of ``~``; other values stay as they are.

    Raises:
        ValueError: it is empty, or begins with ``~name`` without a user of that name.
    """
    if not isinstance(path, str):
        return path
    if not path:
        raise ValueError("is empty; expected the path of a file or folder")
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError(
            f"begins with '{path.partition('/')[0]}', but this machine has no such user; "
            "expected an absolute path"
        ) from None


def _check_path(path: Path) -> Path:
    encoded = os.fsencode(path)
    longest_name = max(map(len, encoded.split(b"/")))
    if b"\0" in encoded or len(encoded) > LONGEST_PATH or longest_name > LONGEST_NAME:
        raise ValueError(
            f"must be a path of at most {LONGEST_PATH} bytes, with names of at most "
            f"{LONGEST_NAME} bytes, and without NUL"
        )
    refuse_variables(str(path))
    return path


def refuse_variables(address: str) -> str:
    """Return a path or an address, unless it has an environment variable, as a shell replaces.

    Raises:
        ValueError: it has one.
    """
    if VARIABLE.search(address):
        raise ValueError("environment variables are not replaced here; expected the value itself")
    return address


Place = Annotated[Path, BeforeValidator(expand_home), AfterValidator(_check_path)]
"""The path of a file or folder, in which ``~`` is the home folder."""
DataFolder = Annotated[Place, AfterValidator(Path.absolute)]
"""The path of images; links in it stay, and it means the same from any other folder."""
