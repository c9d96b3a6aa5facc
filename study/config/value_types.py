"""The types of values that several sections of a configuration share."""

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from study.method.recipe import MAX_WEIGHT

# The bounds of numbers are far beyond useful values; they refuse typing errors.
HIGHEST_RATE = 1000
"""The highest learning rate."""
Count = Annotated[int, Field(ge=1, le=100_000)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=HIGHEST_RATE)]
"""A learning rate."""
Decay = Annotated[float, Field(ge=0, le=100)]
"""A weight decay."""


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound is above the upper one")
    return bounds


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""The pattern of a study's name."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
LABEL = r"^[a-z0-9][a-z0-9._-]{0,39}$"
"""The pattern of a label."""
Label = Annotated[str, Field(pattern=LABEL)]
"""The label of a baseline or of an ablation's cell; the folders of its trials are named by it."""
ObjectName = Annotated[str, Field(min_length=1, max_length=100)]
"""The name of something that code provides, such as a protocol."""
Range = Annotated[tuple[Rate, Rate], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform choice of a learning rate."""


def _form_of_rate(rate: Any) -> str:
    return "[range]" if isinstance(rate, list | tuple) else "[number]"


RateOrRange = Annotated[
    Annotated[Rate, Tag("[number]")] | Annotated[Range, Tag("[range]")],
    Discriminator(_form_of_rate),
]
"""A fixed learning rate, or the range of one that is searched."""
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT)]
Weights = Annotated[tuple[Weight, Weight], AfterValidator(_increasing)]
"""The lower and upper bound of a log-uniform choice of λ."""
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=100)]
"""Learning rates to try."""
