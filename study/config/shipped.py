"""The configurations that come with the package, and the commands that start from one of them."""

import shlex
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.section import Section
from study.config.yaml_text import yaml_on_one_line

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
"""The folders of these files: beside the package in a checkout, in it if it is installed."""
QUICKSTART = "quickstart"
"""The configuration of a run that names none."""
_WIDTH = 88
"""The number of characters of a line of a command."""
_OF_THIS_MACHINE = {"name", "storage", "resources", "tracking"}
"""The keys of a configuration that say where and how a study runs, but change no result."""


def shipped_file(name: str) -> Path | None:
    """Return the file of a shipped configuration; None where it is missing."""
    for folder in FOLDERS:
        file = folder / f"{name}.yaml"
        if file.is_file():
            return file
    return None


def overrides_between(config: StudyConfig, values: Mapping[str, Any]) -> list[str]:
    """Return the overrides that give a configuration other values.

    Args:
        config: the configuration.
        values: the other values as JSON has them, by dotted key.

    Returns:
        ``key=value`` for each value that the configuration does not have, as
        `study.config.yaml_values.parse_overrides` reads it.
    """
    return [
        f"{key}={yaml_on_one_line(value)}"
        for key, value in values.items()
        if value_at(config, key) != value
    ]


def repeating_command(config: StudyConfig) -> str | None:
    """Return the command that runs a study of this configuration again.

    The command leaves out names, storage, machines and tracking. Of a path, only the last name is
    kept, so that a page with the command reveals nothing about this machine.

    Returns:
        The command, broken into lines for a shell; None if the shipped configuration that it
        starts from is missing.
    """
    source = shipped_file(QUICKSTART)
    if not source:
        return None
    base = load_config(source)
    values = {}
    elsewhere = config.model_dump(mode="json", exclude=_OF_THIS_MACHINE)
    for key, value in _values_by_key(elsewhere, base).items():
        values[key] = value
        if isinstance(value, str) and Path(value).is_absolute():
            values[key] = Path(value).name
    words = ["clipfit-study", "run", QUICKSTART]
    words += map(shlex.quote, overrides_between(base, values))
    return wrap_command(words)


def _values_by_key(values: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return values by dotted key, as deep as a configuration has sections."""
    by_key = {}
    for key, value in values.items():
        inner = getattr(section, key)
        if isinstance(inner, Section) and isinstance(value, Mapping):
            for inner_key, inner_value in _values_by_key(value, inner).items():
                by_key[f"{key}.{inner_key}"] = inner_value
        else:
            by_key[key] = value
    return by_key


def wrap_command(words: Sequence[str]) -> str:
    """Join the words of a command, with line breaks that a shell ignores."""
    lines = []
    line = ""
    for word in words:
        if line and len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = "   "
        if line:
            line += " "
        line += word
    lines.append(line)
    return " \\\n".join(lines)


def value_at(config: StudyConfig, key: str) -> Any:
    """Return the value at a dotted key as JSON has it."""
    return reduce(getitem, key.split("."), config.model_dump(mode="json"))
