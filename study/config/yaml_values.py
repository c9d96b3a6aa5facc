"""The values of YAML files and of overrides, as mappings that are not validated yet."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from contextlib import suppress
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from study.config.yaml_text import LONGEST, short_repr
from study.data.records import read_text
from study.errors import ConfigError, DataError
from study.storage.result_folder import KEY, refuse_other_format

Values = dict[str, Any]
"""Values by key."""
MERGED = "search.baselines"
"""The key of a mapping to which a file or an override adds entries."""


def read_values(source: Path, *, frozen: bool = False) -> Values:
    """Read a YAML file that holds a mapping, without validating its values.

    A key with dots, such as ``search.trials``, becomes a key of its section.

    Args:
        source: the file.
        frozen: whether it must have a format number; any file may have one.

    Returns:
        The values without the format number.

    Raises:
        ConfigError: the file cannot be read, is not a YAML mapping, or sets a value twice.
        FormatError: it has another format.
    """
    try:
        text = read_text(source)
    except DataError as error:
        raise ConfigError(f"configuration {error}") from error
    values = _read_yaml(text, f"configuration {source} is") or {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"configuration {source} must be a mapping of sections, got {short_repr(values)}"
        )
    if frozen or KEY in values:
        refuse_other_format(source, values.pop(KEY, None))
    dotted = [key for key in values if isinstance(key, str) and "." in key]
    for key in dotted:
        value = values.pop(key)
        with suppress(KeyError, TypeError):  # where its section does not set it
            reduce(getitem, key.split("."), values)
            raise ConfigError(
                f"configuration {source} sets '{key}' twice: with dots, and in its section"
            )
        put_value(values, key, value)
    return values


def _read_yaml(text: str, subject: str) -> Any:
    """Return the value of YAML; the message of a ConfigError about it begins with the subject."""
    try:
        return yaml.load(text, _SafeLoader)  # noqa: S506, it is a subclass of SafeLoader
    except Exception as error:  # PyYAML raises many kinds, such as RecursionError
        reason = str(error) if isinstance(error, yaml.YAMLError) else repr(error)
        raise ConfigError(f"{subject} not valid YAML: {reason[:1000]}") from error


class _SafeLoader(yaml.SafeLoader):
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
                    None, None, f"the key '{key}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


# Each is a part of what PyYAML reads as such a value, so that its dumper quotes all other text.
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)"),
    ("float", r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    ("float", r"\.[0-9][0-9_]*([eE][-+][0-9]+)?"),
    ("merge", r"<<"),
):
    _SafeLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"({_pattern})\Z"), None
    )


TEXTS = frozenset(
    ["name", "storage", "data.root", "data.shots_from", "data.targets_root", "backbone.name"]
)
"""The keys whose values are names and paths, such as ``0123`` and ``[x]/pets``."""


def parse_overrides(overrides: Iterable[str]) -> Values:
    """Return the values of overrides by dotted key.

    Raises:
        ConfigError: an override is not of the form ``section.field=value``, its value is not valid
            YAML, or two overrides set the same value, so that their order would decide.
    """
    values: Values = {}
    quoted_of: dict[str, str] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        quoted = f"'{override[:LONGEST]}'"
        if not equals or not all(key.split(".")):
            raise ConfigError(f"override {quoted} is not of the form section.field=value")
        for other, other_quoted in quoted_of.items():
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                raise ConfigError(
                    f"overrides {other_quoted} and {quoted} set the same value twice; keep one"
                )
        quoted_of[key] = quoted
        values[key] = _read_override(key, text, f"override {quoted}: the value is")
    return values


def _read_override(key: str, text: str, subject: str) -> Any:
    """Return the value of an override; names and paths stay text if YAML reads something else."""
    try:
        value = _read_yaml(text, subject)
    except ConfigError:
        if key in TEXTS:
            return text
        raise
    if key in TEXTS and value is not None and not isinstance(value, str):
        return text
    return value


def put_value(values: Values, key: str, value: Any) -> None:
    """Set the value at a dotted key in place, and create missing sections.

    Entries of `MERGED` are added to those that are there, or replace those of the same name.

    Raises:
        ConfigError: a part of the key before the last is not a section.
    """
    *sections, field = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(
                f"'{key}' cannot be set: {section} is {short_repr(inner)}, not a section"
            )
        values = inner
    before = values.get(field)
    if key == MERGED and isinstance(before, dict) and isinstance(value, dict):
        value = before | value
    values[field] = value
