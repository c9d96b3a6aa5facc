"""What pydantic finds wrong with a configuration, as faults: a key, its message and the value."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from study.config.reference import list_keys
from study.config.renamed_keys import find_renamed
from study.config.yaml_text import short_repr
from study.errors import Fault, did_you_mean


def find_faults(error: ValidationError) -> list[Fault]:
    """Return each of pydantic's errors as a fault; an unknown key names the nearest known one."""
    found = error.errors(include_url=False)
    # pydantic counts the valid values of a list alone, and so finds too few beside a faulty one.
    places = [one["loc"][:-1] for one in found]
    # In release 1.0.0, ``peer`` stood for ``method``: without that, an entry is read as a subset.
    old_entries = [one["loc"][:-1] for one in found if one["loc"][-1:] == ("peer",)]
    faults: list[Fault] = []
    for one in found:
        renamed = []
        if one["type"] == "extra_forbidden":
            renamed = list(find_renamed(_key(one), one["input"]))
        if renamed:
            faults += renamed
        elif one["loc"][:-1] not in old_entries and not (
            one["type"] == "too_short" and one["loc"] in places
        ):
            faults.append(Fault(_key(one), _message(one)))
    return faults


def _key(error: Any) -> str:
    # Parts in brackets are no keys: they name the forms that a value may have.
    return ".".join(str(part) for part in error["loc"] if not str(part).startswith("["))


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(_key(error), list(_keys_and_sections()))
        return f"unknown key{hint}; `clipfit-study config` lists all keys"
    message: str = error["msg"].removeprefix("Value error, ")
    if not isinstance(error["input"], dict | BaseModel):  # a section would be too long
        message += f", got {short_repr(error['input'])}"
    return message


def _keys_and_sections() -> Iterator[str]:
    for key in list_keys():
        yield key.name
        yield key.name.rpartition(".")[0]
