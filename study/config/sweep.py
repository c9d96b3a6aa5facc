"""Sweeps: several studies from one file.

A file with ``sweep`` stands for one study per combination of the values of its axes.
``exceptions`` set further values for some of these studies::

    sweep:
      data.dataset: [eurosat, food101]
      data.shots: [1, 16]
    exceptions:
      - for: {data.dataset: [food101]}
        set: {training.epochs: 10}

A folder stands for the studies of all its files.
"""

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.config.loading import build_config, parse_overrides, put_value, read_values, shown
from study.config.schema import StudyConfig
from study.errors import ConfigError

AXES, EXCEPTIONS = "sweep", "exceptions"
MOST_STUDIES = 10_000
"""The largest number of studies that one file may make."""


@dataclass(frozen=True)
class Member:
    """One study of a sweep.

    Its name is the same each time the sweep is run, so that a later run continues the study.
    """

    experiment: str
    """The name of the sweep's file, without the suffix."""
    axes: Mapping[str, Any]
    """The value of each axis, by dotted key."""
    config: StudyConfig
    """The configuration of the study."""


def is_sweep(source: Path) -> bool:
    """Return whether a folder or file stands for several studies.

    Raises:
        ConfigError: if the file cannot be read.
    """
    return source.is_dir() or AXES in read_values(source)


def load_sweep(source: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """Read the studies of a file, or of all files in a folder.

    An override of an axis replaces all its values by one. Any other override holds for every study
    and takes precedence over the exceptions. ``name=…`` sets the beginning of the studies' names.

    Raises:
        ConfigError: if there is no file, or a file or one of its studies is invalid.
    """
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"the folder {source} holds no configuration (*.yaml)")
    overridden = parse_overrides(overrides)
    return [member for file in files for member in _members(file, overridden)]


def _members(file: Path, overridden: Mapping[str, Any]) -> list[Member]:
    values = read_values(file)
    axes = _axes(file, values.pop(AXES, {}))
    exceptions = _exceptions(file, values.pop(EXCEPTIONS, []), axes)
    chosen = {
        key: [overridden[key]] if key in overridden else choices for key, choices in axes.items()
    }
    if (count := math.prod(map(len, chosen.values()))) > MOST_STUDIES:
        raise ConfigError(f"{file}: {AXES} makes {count} studies; allowed are {MOST_STUDIES}")
    prefix = overridden.get("name") or file.resolve().parent.name
    members = []
    for combination in itertools.product(*chosen.values()):
        point = dict(zip(chosen, combination, strict=True))
        parts = (prefix, file.stem, *combination)
        name = "-".join(p if isinstance(p, str) else shown(p) for p in parts).replace(":", ".")
        own = copy.deepcopy(values)
        for key, value in {**point, **_changes(exceptions, point), **overridden}.items():
            put_value(own, key, value)
        own["name"] = name.replace("/", ".")
        members.append(Member(file.stem, point, build_config(own, f"{file} ({name})")))
    return members


def _changes(exceptions: Sequence[Mapping[str, Any]], point: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for exception in exceptions
        if all(point[axis] in values for axis, values in exception["for"].items())
        for key, value in exception["set"].items()
    }


def _axes(file: Path, axes: Any) -> dict[str, list[Any]]:
    if not _is_keyed(axes) or not all(isinstance(v, list) and v for v in axes.values()):
        raise ConfigError(
            f"{file}: {AXES} is {shown(axes)}; allowed are dotted keys with lists of values"
        )
    for axis, choices in axes.items():
        if structured := [v for v in choices if isinstance(v, dict | list | tuple | set)]:
            raise ConfigError(
                f"{file}: {AXES}.{axis}: {shown(structured[0])} is no plain value, and a study is "
                "named by it"
            )
    return axes


def _exceptions(file: Path, exceptions: Any, axes: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    if not isinstance(exceptions, list):
        raise ConfigError(f"{file}: {EXCEPTIONS} is {shown(exceptions)}; allowed is a list")
    for number, exception in enumerate(exceptions):
        place = f"{file}: {EXCEPTIONS}.{number}"
        parts = exception if isinstance(exception, dict) else {}
        if set(parts) != {"for", "set"} or not all(map(_is_keyed, parts.values())):
            raise ConfigError(
                f"{place}: got {shown(exception)}; allowed is {{for: {{axis: [value, …]}}, "
                "set: {key: value}}"
            )
        for axis, values in parts["for"].items():
            known = axes.get(axis, ())
            strange = [v for v in values if v not in known] if isinstance(values, list) else values
            if axis not in axes or strange or not isinstance(values, list):
                raise ConfigError(
                    f"{place}.for.{axis}: {shown(strange)} are no values of {AXES}.{axis}; "
                    f"axes are {', '.join(axes)}"
                )
    return exceptions


def _is_keyed(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(key, str) for key in part)
