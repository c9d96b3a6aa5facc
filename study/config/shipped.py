"""The configurations that come with the package, and overrides that lead to another one."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from study.config.schema import StudyConfig

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
"""Where they are: beside the package in a checkout, in it where it is installed."""


def shipped_file(name: str) -> Path | None:
    """Return the file of a shipped configuration; None where it is missing."""
    files = (folder / f"{name}.yaml" for folder in FOLDERS)
    return next((file for file in files if file.is_file()), None)


def overrides_between(config: StudyConfig, wanted: Mapping[str, Any]) -> list[str]:
    """Return the overrides that give a configuration the values that are wanted.

    Args:
        config: the configuration.
        wanted: values as JSON has them, by dotted key.

    Returns:
        ``key=value`` for each key whose value is another, as
        `study.config.loading.parse_overrides` reads it.
    """
    return [
        f"{key}={_flow(value)}" for key, value in wanted.items() if value_at(config, key) != value
    ]


def value_at(config: StudyConfig, key: str) -> Any:
    """Return the value at a dotted key as JSON has it."""
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _flow(value: Any) -> str:
    """Return a value as YAML on one line; a text without quotation marks where it needs none."""
    if isinstance(value, str) and _is_plain(value):
        return value
    # In a list, YAML puts no end mark behind a value, which is to be on one line.
    text = yaml.safe_dump([value], default_flow_style=True, width=math.inf, allow_unicode=True)
    # YAML would fold a text with line breaks over several lines, which JSON, a part of it, escapes.
    return json.dumps(value) if "\n" in text.strip() else text.strip()[1:-1]


def _is_plain(text: str) -> bool:
    try:
        return len(text.splitlines()) == 1 and bool(yaml.safe_load(text) == text)
    except (yaml.YAMLError, ValueError):
        return False
