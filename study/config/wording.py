"""What is wrong with a value, in plain words: what it must be, and what was given.

pydantic finds the faults. Its own sentences speak of Python's types, so each type of its errors has
words here.
"""

import difflib
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from study.config.baselines import BASELINES
from study.config.schema import StudyConfig
from study.config.value_types import LABEL, NAME
from study.errors import redacted_text

LONGEST = 200
"""The largest number of characters of a value in a message."""
UNWRITTEN = {"[key]", "[list]", "[mapping]", *BASELINES}
"""What pydantic names beside places in a file: a key itself, and the forms that a value has."""
WORDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    "finite_number": "must be a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("string_type", "string_unicode"), "must be text"),
    "path_type": "must be the path of a file or folder",
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list, as in [1, 2]"),
    **dict.fromkeys(("dict_type", "mapping_type"), "must be a mapping, as in {{key: value}}"),
    **dict.fromkeys(
        ("model_type", "model_attributes_type"), "must be a section with keys of its own"
    ),
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
"""What a value must be, by the type of pydantic's error; names in braces are of its context."""
PATTERNS: Mapping[str, str] = {
    NAME: "must be 1 to 100 letters, digits, dots, hyphens and underscores, and begin with a "
    "letter or a digit",
    LABEL: "must be 1 to 40 small letters, digits, dots, hyphens and underscores, and begin with a "
    "letter or a digit",
}
"""What a text must be, by the pattern that it does not match."""
UNKNOWN_KEY = "unknown key"
"""How the fault of a key that does not exist begins, after its place."""
SECTIONS = {
    name for name, field in StudyConfig.model_fields.items() if isinstance(field.default, BaseModel)
}
"""The sections whose faults may be of some of their keys alone."""
PLAIN = ("dataset", "root", "name")
"""The keys whose words plain sentences have as well, so that they are known by their values."""


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
    """Return pydantic's errors, without those that say of a list with a faulty value what follows.

    It counts the valid values of a list alone, and so finds too few.
    """
    found = error.errors()
    faulty = [fault["loc"][:-1] for fault in found]
    return [f for f in found if f["type"] != "too_short" or f["loc"] not in faulty]


def fault_path(fault: Any) -> tuple[int | str, ...]:
    """Return where in the file a fault is."""
    return tuple(part for part in fault["loc"] if part not in UNWRITTEN)


def describe_fault(fault: Any) -> str:
    """Return a line on one of pydantic's errors: its place, what is allowed, and what was given."""
    path = ".".join(map(str, fault_path(fault)))
    if fault["type"] == "peer":
        return f"{path}.peer: {fault['msg']}, got {short_repr(fault['input']['peer'])}"
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"])
        if "." in str(fault["loc"][-1]):
            known = "keys with dots belong at the top of a file, not in a section"
        return f"{path}: {UNKNOWN_KEY}; {known}"
    whole = isinstance(fault["input"], dict | BaseModel)
    got = "" if whole else f", got {short_repr(fault['input'])}"
    return f"{path}: {_words(fault)}{got}"


def _words(fault: Any) -> str:
    """Return what a value must be."""
    kind = fault["type"]
    context = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in fault.get("ctx", {}).items()
    }
    match kind:
        case "value_error":
            return str(fault["msg"]).removeprefix("Value error, ")
        case "missing" if isinstance(place := fault["loc"][-1], int):
            return f"is missing; the list must have {place + 1} values or more"
        case "missing":
            return "is missing, and has no default"
        case "tuple_type" | "list_type" if not isinstance(fault["input"], dict | None):
            return f"must be a list, also for one value, as in [{short_repr(fault['input'])}]"
        case "string_pattern_mismatch" if (pattern := str(context["pattern"])) in PATTERNS:
            return PATTERNS[pattern]
    words = WORDS.get(kind, "is not allowed here").format_map(context)
    return re.sub(r"\b1 (character|entr)(?:s|ies)\b", _one, words)


def _one(match: re.Match[str]) -> str:
    return "1 entry" if match[1] == "entr" else f"1 {match[1]}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    """Return the key that an unknown one may mean, or else all that its section has."""
    section: type[BaseModel] = StudyConfig
    for part in location[:-1]:
        section = BASELINES.get(str(part), section)
        if part in section.model_fields:  # unlike a label: the type of what it names has fields
            kind = section.model_fields[str(part)].annotation
            types = (t for t in (kind, *get_args(kind)) if isinstance(t, type))
            section = next((t for t in types if issubclass(t, BaseModel)), section)
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"allowed are {', '.join(known)}"


def override_texts(overrides: Iterable[str]) -> dict[str, str]:
    """Return what the user wrote, short and on one line, by the dotted key that it sets."""
    return {text.partition("=")[0]: " ".join(text.split())[:LONGEST] for text in overrides}


def faults_with_overrides(overrides: Mapping[str, str], faults: Sequence[str]) -> list[str]:
    """Return faults, each with the overrides that it is of, if there are any.

    Args:
        overrides: what the user wrote, by dotted key; see `override_texts`.
        faults: lines that begin with a place.
    """
    named = []
    for fault in faults:
        own = ", ".join(redacted_text(overrides[key]) for key in _blamed(fault, overrides))
        line, end, command = fault.partition("\n")  # a command has a line of its own, to be pasted
        named.append(f"{line} (override {own}){end}{command}" if own else fault)
    return named


def _blamed(fault: str, overrides: Mapping[str, str]) -> list[str]:
    """Return the overrides that a fault is of: those of its place, else those that it names.

    A fault of a whole section, such as ``data``, is of the overrides in it that it speaks of.
    """
    place, _, text = fault.partition(": ")
    own, named = [], []
    for key, override in overrides.items():
        at, last, value = f"{key}.", key.rpartition(".")[2], override.partition("=")[2]
        spoken_of = _has_word(value if last in PLAIN else last, text)
        inside = at.startswith(f"{place}.") and (place not in SECTIONS or spoken_of)
        if inside or f"{place}.".startswith(at):
            own.append(key)
        # A key of one word, such as `seed`, is also a word of plain sentences.
        elif _has_word(key if "." in key else f"{key} {value}", text):
            named.append(key)
    return own or named


def _has_word(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.]?\w)", text) is not None
