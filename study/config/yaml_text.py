"""Configurations for people: values in messages and overrides, and a file with comments."""

import json
import math
import re
import reprlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from study.errors import ConfigError

LONGEST = 200
"""The largest number of characters of a value in a message."""
WIDTH = 100
"""The number of characters of a line with a comment."""
DEEPEST = 1
"""The number of sections around the innermost section that has lines of its own."""


def yaml_on_one_line(value: Any) -> str:
    """Return a value as YAML on one line; a text has quotation marks only if it needs them."""
    with suppress(yaml.YAMLError, ValueError):
        if isinstance(value, str) and yaml.safe_load(value) == value == value.splitlines()[0]:
            return value
    # Inside a list, YAML writes no end mark after a value.
    text = yaml.safe_dump(
        [value], default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True
    )
    # YAML would fold a text with line breaks over several lines. JSON, which is valid YAML, escapes
    # them.
    return text.strip()[1:-1] if len(text.splitlines()) == 1 else json.dumps(value)


def written_override(key: str, value: object) -> str:
    """Return ``key=value`` as `study.config.yaml_values.parse_overrides` reads it.

    Raises:
        ConfigError: YAML has no such value.
    """
    if isinstance(value, Path):
        value = str(value)
    try:
        return f"{key}={yaml_on_one_line(value)}"
    except yaml.YAMLError:
        raise ConfigError(
            f"{key} is {short_repr(value)}, a {type(value).__name__}; expected text, numbers, "
            "true and false, None, and lists and mappings of them, or a Path"
        ) from None


def short_repr(value: Any) -> str:
    """Return a value as Python writes it, cut short: aliases of YAML can make it endless."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = LONGEST
    try:
        return short.repr(value)[:LONGEST]
    except ValueError:
        return f"a number of more than {sys.get_int_max_str_digits()} digits"


def commented_yaml(values: Mapping[str, Any], comments: Mapping[str, str], header: str = "") -> str:
    """Return values as YAML, with comments.

    Args:
        values: the values by section and key.
        comments: a comment for some of the values, by dotted key.
        header: a comment before all values.
    """
    return "\n".join([f"# {_printable(header)}", *_lines(values, comments, "", "")]) + "\n"


def _printable(comment: str) -> str:
    """Return a comment on one line, without the characters that YAML refuses."""
    return re.sub(r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\U00010000-\U0010ffff]", " ", comment)


def _lines(
    values: Mapping[str, Any], comments: Mapping[str, str], prefix: str, indent: str
) -> Iterator[str]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        comment = _printable(comments.get(key, ""))
        written = yaml_on_one_line(name)
        is_section = isinstance(value, Mapping) and len(value) and key.count(".") <= DEEPEST
        line = f"{indent}{written}:"
        if not is_section:
            line += f" {yaml_on_one_line(value)}"
        if comment and len(f"{line} # {comment}") > WIDTH:
            beginning = f"{indent}# "
            yield textwrap.fill(
                comment, WIDTH, initial_indent=beginning, subsequent_indent=beginning
            )
        elif comment:
            line += f" # {comment}"
        yield line
        if is_section:
            yield from _lines(value, comments, f"{key}.", f"{indent}  ")
