"""The values of YAML files and of overrides, as mappings that are not validated yet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from study.config.yaml_text import LONGEST, SafeLoader, short_repr
from study.data.records import read_text
from study.errors import ConfigError, DataError
from study.storage.result_folder import KEY, refuse_other_format

Values = dict[str, Any]
"""Values by key."""


def read_values(source: Path, *, frozen: bool = False) -> Values:
    """Read a YAML file that holds a mapping, without validating its values.

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
    return values


def _read_yaml(text: str, subject: str) -> Any:
    """Return the value of YAML; the message of a ConfigError about it begins with the subject."""
    try:
        return yaml.load(text, SafeLoader)  # noqa: S506, it is a subclass of SafeLoader
    except Exception as error:  # PyYAML raises many kinds, such as RecursionError
        reason = str(error) if isinstance(error, yaml.YAMLError) else repr(error)
        raise ConfigError(f"{subject} not valid YAML: {reason[:1000]}") from error


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
        values[key] = _read_yaml(text, f"override {quoted}: the value is")
    return values


def put_value(values: Values, key: str, value: Any) -> None:
    """Set the value at a dotted key in place, and create missing sections.

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
    values[field] = value
