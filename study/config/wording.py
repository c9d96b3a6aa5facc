"""Messages on the faults that pydantic finds: what a value must be, and the value got.

pydantic's own messages speak of Python's types, so each type of its errors has a text here.
"""

import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from study.config.baselines import BASELINES
from study.config.schema import StudyConfig
from study.config.value_types import LABEL, NAME
from study.errors import Fault, did_you_mean, redacted_text
from study.process.table_files import read_table

Texts = Mapping[str, str]
"""Texts by key."""
LONGEST = 200
"""The largest number of characters of a value in a message."""
UNWRITTEN = {"[key]", "[list]", "[mapping]", "[number]", "[all]", *BASELINES}
"""Parts of pydantic's locations that are no keys of a file: a key itself, and forms of a value."""
WORDS: Texts = {
    **read_table(__file__),
    NAME: "must be 1 to 100 letters, digits, dots, hyphens and underscores, and begin with a "
    "letter or a digit",
    LABEL: "must be 1 to 40 small letters, digits, dots, hyphens and underscores, and begin with a "
    "letter or a digit",
}
"""What a value must be, by the type of pydantic's error or the pattern that a text does not match;
names in braces are of the error's context."""
SECTIONS = {
    name for name, field in StudyConfig.model_fields.items() if isinstance(field.default, BaseModel)
}
"""The sections; a fault of a whole section may be due to some of its keys alone."""


def short_repr(value: Any) -> str:
    """Return a value as it is written in Python, cut short for a message.

    The cut also holds for aliases of YAML, which can make a value endless or huge.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = LONGEST
    try:
        return short.repr(value)[:LONGEST]
    except ValueError:
        return f"a number of more than {sys.get_int_max_str_digits()} digits"


def relevant_faults(error: ValidationError) -> list[Any]:
    """Return pydantic's errors, without those on the length of a list that has a faulty value.

    pydantic counts only the valid values of a list, and so finds too few.
    """
    faults = error.errors()
    lists_with_faults = [fault["loc"][:-1] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short" or fault["loc"] not in lists_with_faults
    ]


def fault_path(fault: Any) -> tuple[int | str, ...]:
    """Return where in the file a fault is."""
    return tuple(key for key in fault["loc"] if key not in UNWRITTEN)


def describe_fault(error: Any) -> Fault:
    """Return the fault that one of pydantic's errors is: what is allowed, and the value got."""
    path = ".".join(map(str, fault_path(error)))
    value = error["input"]
    if error["type"] == "peer":
        return Fault(f"{path}.peer", f"{error['msg']}, got {short_repr(value['peer'])}")
    if error["type"] == "extra_forbidden":
        keys = list(_section_of(error["loc"]).model_fields)
        key = str(error["loc"][-1])
        hint = did_you_mean(key, keys).strip(" ()") or f"allowed are {', '.join(keys)}"
        if "." in key:
            hint = "keys with dots belong at the top of a file, not in a section"
        return Fault(path, f"unknown key; {hint}")
    message = _requirement(error)
    field = _section_of(error["loc"]).model_fields.get(str(error["loc"][-1]))
    if error["type"] in WORDS and field and NoneType in get_args(field.annotation):
        message += " or null"
    if not isinstance(value, dict | BaseModel):  # the values of a section would be too many
        message += f", got {short_repr(value)}"
    return Fault(path, message)


def _requirement(fault: Any) -> str:
    """Return what a value must be."""
    kind = fault["type"]
    if kind == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        key = fault["loc"][-1]
        if isinstance(key, int):
            return f"is missing; the list must have {key + 1} values or more"
        return "is missing, and has no default"
    if kind in ("tuple_type", "list_type") and not isinstance(fault["input"], dict | None):
        return f"must be a list, also for one value, as in [{short_repr(fault['input'])}]"
    context = {}
    for name, value in fault.get("ctx", {}).items():
        context[name] = value
        if isinstance(value, float) and value.is_integer():
            context[name] = int(value)
    if kind == "string_pattern_mismatch":
        kind = str(context["pattern"])
    words = WORDS.get(kind, "is not allowed here").format_map(context)
    words = re.sub(r"\b1 characters\b", "1 character", words)
    return re.sub(r"\b1 entries\b", "1 entry", words)


def _section_of(location: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the section of the key at the end of a location."""
    section: type[BaseModel] = StudyConfig
    for key in location[:-1]:
        section = BASELINES.get(str(key), section)
        if key in section.model_fields:  # unlike a label: the type of what it names has fields
            annotation = section.model_fields[str(key)].annotation
            for kind in (annotation, *get_args(annotation)):  # it may be one of several types
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    section = kind
                    break
    return section


def override_texts(overrides: Iterable[str]) -> dict[str, str]:
    """Return what the user wrote, short and on one line, by the dotted key that it sets."""
    return {text.partition("=")[0]: " ".join(text.split())[:LONGEST] for text in overrides}


def name_overrides(faults: Iterable[Fault], overrides: Texts) -> list[Fault]:
    """Return faults, each with the overrides that set its key, if there are any.

    A fault of a whole section, such as ``data``, may be due to any of its keys, and names none.

    Args:
        faults: the faults.
        overrides: what the user wrote, by dotted key; see `override_texts`.
    """
    named = []
    for fault in faults:
        causes = []
        for key, text in overrides.items():
            above = f"{fault.key}.".startswith(f"{key}.")
            below = f"{key}.".startswith(f"{fault.key}.") and fault.key not in SECTIONS
            if above or below:
                causes.append(redacted_text(text))
        # A command has a line of its own, to be pasted.
        line, end, command = fault.message.partition("\n")
        if causes:
            line += f" (override {', '.join(causes)})"
        named.append(replace(fault, message=f"{line}{end}{command}"))
    return named
