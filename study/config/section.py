"""The base class of all sections of a configuration, and the checks that all values pass."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
        use_attribute_docstrings=True,  # the meanings that `config` prints
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_values(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, which pydantic would read as 1 and 0."""
        types = _types_of_field(cls, info.field_name or "")
        if bool not in types and (int in types or float in types):
            # No deeper than lists in a mapping: aliases of YAML can make a value endless.
            for entry in [inner for outer in _entries(value) for inner in _entries(outer)]:
                if isinstance(entry, bool):
                    raise ValueError("must be a number, which true and false are not")
        return value


def _entries(value: Any) -> Iterable[Any]:
    """Return the values in a list or a mapping, or the value itself."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return [value]


@cache
def _types_of_field(section: type[BaseModel], field: str) -> list[Any]:
    return list(types_in(section.model_fields[field].annotation))


def types_in(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of."""
    arguments = get_args(annotation)
    for argument in arguments:
        yield from types_in(argument)
    if not arguments:
        yield annotation
