"""The base class of all sections of a configuration, and the checks that all values pass."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

VARIABLE = re.compile(r"\$\{\w+[^{}]*\}|(?:^|/)\$[A-Za-z_]\w*")
"""A variable of the environment as a shell has it: ``${NAME}``, or ``$NAME`` as a folder."""
LEADING_ZEROS = re.compile(r"[-+]?0[0-9]")


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
    def _refuse_ambiguous(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a value that pydantic would read as another one, such as true, which is 1.

        No program replaces variables of the environment here.
        """
        types = _types_of_field(cls, info.field_name or "")
        if any(isinstance(kind, type) and issubclass(kind, Section) for kind in types):
            return value  # a section checks its own values
        is_number = bool not in types and (int in types or float in types)
        # No deeper than lists in a mapping: aliases of YAML can make a value endless.
        for entry in [inner for outer in _entries(value) for inner in _entries(outer)]:
            if isinstance(entry, bool) and is_number:
                raise ValueError("must be a number, which true and false are not")
            if not isinstance(entry, str):
                continue
            if is_number and str not in types and LEADING_ZEROS.match(entry):
                raise ValueError("must be a number without leading zeros")
            variable = VARIABLE.search(entry)
            if variable:
                raise ValueError(
                    f"has {variable[0].lstrip('/')}, and environment variables are not "
                    "replaced here; expected the value itself"
                )
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
