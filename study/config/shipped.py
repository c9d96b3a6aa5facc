"""The configurations that come with the package, and overrides that lead to another one."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.section import Section

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE.parent / "configs", _PACKAGE / "configs")
"""Where they are: beside the package in a checkout, in it where it is installed."""
QUICKSTART = "quickstart"
"""The configuration that a run has where none is named."""
_WIDTH = 88
"""The number of characters of a line of a command."""
_OF_THIS_MACHINE = ("name", "storage", "resources", "tracking")
"""The keys of a configuration that say where and how a study runs, and not what it is."""


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
        `study.config.yaml_values.parse_overrides` reads it.
    """
    return [
        f"{key}={_flow(value)}" for key, value in wanted.items() if value_at(config, key) != value
    ]


def repeating_command(config: StudyConfig) -> str | None:
    """Return the command that runs a study of this configuration again.

    It says nothing of names, storage, machines and tracking. A folder has its last name alone, so
    that a page with the command tells nothing of this machine.

    Returns:
        The command, broken into lines for a shell; None where the shipped configuration that it
        begins with is missing.
    """
    if (source := shipped_file(QUICKSTART)) is None:
        return None
    given = _leaves(config.model_dump(mode="json"), base := load_config(source))
    wanted = {k: v for k, v in given.items() if k.partition(".")[0] not in _OF_THIS_MACHINE}
    shown = {key: _without_folders(value) for key, value in wanted.items()}
    overrides = overrides_between(base, shown)
    return in_lines(["clipfit-study", "run", QUICKSTART, *map(shlex.quote, overrides)])


def _leaves(values: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return values by dotted key, as deep as a configuration has sections."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = getattr(section, key)
        if isinstance(inner, Section) and isinstance(value, Mapping):
            found |= {f"{key}.{name}": own for name, own in _leaves(value, inner).items()}
        else:
            found[key] = value
    return found


def _without_folders(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def in_lines(words: Sequence[str]) -> str:
    """Join the words of a command, with breaks between lines that a shell passes over."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


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
