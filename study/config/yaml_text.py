"""YAML as people mean it, values in messages and overrides, and a file with comments."""

import json
import math
import re
import reprlib
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import yaml

LONGEST = 200
"""The largest number of characters of a value in a message."""
WIDTH = 100
"""The number of characters of a line with a comment."""
DEEPEST = 1
"""The number of sections around the innermost section that has lines of its own."""


class SafeLoader(yaml.SafeLoader):
    """A safe loader that takes numbers, true and false, and null for such values, as people do.

    All else is text: PyYAML would read 010 as 8, 1:30 as 90, 2001-02-03 as a date and "no" as
    false. A repeated key, of which PyYAML would keep the last value, is refused.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, as the base class declares it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping, or raise ConstructorError if a key is repeated."""
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        counts = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        for key, count in counts.items():
            if count > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' occurs twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class SafeDumper(yaml.SafeDumper):
    """A safe dumper, which quotes each text that `SafeLoader` would read as something else.

    What YAML has no form for, such as a path, is written as its text.
    """


FLOAT = re.compile(
    r"([-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN))\Z"
)
"""A number with a point or an exponent; PyYAML would read 1e-3 as text."""
for _tag, _pattern in (
    ("null", re.compile(r"(~|null|Null|NULL|)\Z")),
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")),
    ("float", FLOAT),
    ("merge", re.compile(r"<<\Z")),
):
    SafeLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, None)
# What PyYAML reads as a number, a date and the like is quoted without this.
SafeDumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
SafeDumper.add_multi_representer(object, lambda dumper, value: dumper.represent_str(str(value)))


def yaml_on_one_line(value: Any) -> str:
    """Return a value as YAML on one line."""
    # Inside a list, YAML writes no end mark after a value.
    text = yaml.dump(
        [value],
        Dumper=SafeDumper,
        default_flow_style=True,
        sort_keys=False,
        width=math.inf,
        allow_unicode=True,
    )
    # YAML would fold a text with line breaks over several lines. JSON, which is valid YAML, escapes
    # them.
    return text.strip()[1:-1] if len(text.splitlines()) == 1 else json.dumps(value)


def short_repr(value: Any) -> str:
    """Return a value as Python writes it, cut short: aliases of YAML can make it endless."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = LONGEST
    return short.repr(value)[:LONGEST]


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
