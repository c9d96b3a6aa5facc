"""What pydantic finds wrong with a configuration, as faults: a key, its message and the value."""

import reprlib
import sys
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from study.config.renamed_keys import find_renamed
from study.config.schema import StudyConfig
from study.errors import Fault, did_you_mean

LONGEST = 200
"""The largest number of characters of a value in a message."""


def find_faults(error: ValidationError) -> list[Fault]:
    """Return each of pydantic's errors as a fault; an unknown key names the nearest known one."""
    found = error.errors(include_url=False)
    # pydantic counts the valid values of a list alone, and so finds too few beside a faulty one.
    places = [one["loc"][:-1] for one in found]
    faults: list[Fault] = []
    for one in found:
        if one["type"] != "too_short" or one["loc"] not in places:
            faults += _faults(one)
    return faults


def _faults(error: Any) -> list[Fault]:
    """Return an error of pydantic as a fault; an unknown section may have several."""
    # Parts in brackets are no keys: they name the forms that a value may have.
    path = ".".join(str(part) for part in error["loc"] if not str(part).startswith("["))
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(path, list(dotted_keys(StudyConfig)))
        unknown = Fault(path, f"unknown key{hint}; `clipfit-study config` lists all keys")
        return list(find_renamed(path, error["input"])) or [unknown]
    message = error["msg"].removeprefix("Value error, ")
    if not isinstance(error["input"], dict | BaseModel):  # a section would be too long
        message += f", got {short_repr(error['input'])}"
    return [Fault(path, message)]


def dotted_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of each value of a section, and of the sections in it."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from dotted_keys(kind, f"{prefix}{name}.")


def short_repr(value: Any) -> str:
    """Return a value as Python writes it, cut short: aliases of YAML can make it endless."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = LONGEST
    try:
        return short.repr(value)[:LONGEST]
    except ValueError:
        return f"a number of more than {sys.get_int_max_str_digits()} digits"
