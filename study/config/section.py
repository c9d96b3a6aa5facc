"""The base class of all sections of a configuration, and the checks that all values pass."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

VARIABLE = re.compile(r"\$\{\w+[^{}]*\}|(?:^|/)\$[A-Za-z_]\w*")
"""A variable of the environment as a shell has it: ``${NAME}``, or ``$NAME`` as a folder."""
LEADING_ZEROS = re.compile(r"[-+]?0[0-9]")
LONGEST_PATH, LONGEST_NAME = 4000, 255
"""The longest path and name in bytes; the path leaves room for the files in a study's folder."""


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
        use_attribute_docstrings=True,  # for the table of keys in configs/README.md
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_ambiguous(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a value that pydantic would read as another one.

        YAML's ``yes`` is true, which Python counts as 1; an empty path would be the working folder.
        """
        types = _types_of_field(cls, info.field_name or "")
        if value == "" and Path in types:
            raise ValueError("is empty; allowed is the path of a file or folder")
        # No deeper than lists in a mapping: aliases of YAML can make a value endless.
        entries = [inner for entry in _entries(value) for inner in _entries(entry)]
        if not any(isinstance(kind, type) and issubclass(kind, Section) for kind in types):
            _refuse_variables(entries)  # a section checks its own values
        if bool not in types and (int in types or float in types):
            _refuse_unclear_numbers(entries, texts=str in types)
        if Path in types and isinstance(value, str):
            return expand_home(value)
        return value

    @field_validator("*")
    @classmethod
    def _refuse_oversized(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= 2**31:
            raise ValueError("a whole number must be below 2147483648")
        if isinstance(value, Path):
            path = os.fsencode(value)
            if b"\0" in path or len(path) > LONGEST_PATH:
                raise ValueError(f"a path has at most {LONGEST_PATH} bytes, none of them NUL")
            if any(len(name) > LONGEST_NAME for name in path.split(b"/")):
                raise ValueError(f"a file or folder has a name of at most {LONGEST_NAME} bytes")
        return value


def _refuse_variables(entries: Iterable[Any]) -> None:
    """Raise if a value has a variable of the environment, which nothing would replace."""
    for entry in entries:
        if not isinstance(entry, str):
            continue
        variable = VARIABLE.search(entry)
        if variable:
            raise ValueError(
                f"has {variable[0].lstrip('/')}, and variables of the environment are not replaced "
                "here; allowed is the value itself"
            )


def _refuse_unclear_numbers(entries: Iterable[Any], *, texts: bool) -> None:
    """Raise if an entry would be read as a number that the user hardly means.

    Args:
        entries: the entries of a value that is a number, or has some.
        texts: whether the entries may also be texts.
    """
    for entry in entries:
        if isinstance(entry, bool):
            raise ValueError("must be a number, which true and false (yes and no) are not")
        if isinstance(entry, str) and not texts and LEADING_ZEROS.match(entry):
            raise ValueError("must be a number without leading zeros")


def expand_home(path: str) -> str:
    """Return a path with the home folder in place of ``~``.

    Raises:
        ValueError: it begins with ``~name``, and there is no user of that name.
    """
    if path.startswith("./~"):  # as a folder of such a name is written, which pathlib would shorten
        return str(Path(path).absolute())
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError(
            f"begins with '{path.partition('/')[0]}', and this machine has no user of that name; "
            f"allowed is ./{path} for a folder of that name"
        ) from None


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
