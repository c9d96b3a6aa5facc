"""Sweeps: files and folders that stand for several studies.

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

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.config.faults import short_repr
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.yaml_values import parse_overrides, read_values
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
        ConfigError: the file cannot be read.
    """
    return source.is_dir() or AXES in read_values(source)


def load_sweep(source: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """Read the studies of a file, or of all files in a folder.

    An override of an axis replaces all its values by one. Any other override holds for every study
    and takes precedence over the exceptions. ``name=…`` sets the beginning of the studies' names.

    Raises:
        ConfigError: there is no file, a file or one of its studies is invalid, or two studies would
            share a folder.
    """
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"the folder {source} holds no configuration (*.yaml)")
    overridden = parse_overrides(overrides)
    members: list[Member] = []
    for file in files:
        members += _members_of_file(file, overridden)
    by_folder: dict[str, Member] = {}
    for member in members:
        name = str(member.config.name)
        # Some disks do not tell capitals from small letters.
        other = by_folder.setdefault(name.casefold(), member)
        if other is not member:
            raise ConfigError(
                f"{source}: two studies would share the folder '{name}': that of "
                f"{short_repr(dict(other.axes))} and that of {short_repr(dict(member.axes))}"
            )
    return members


def _members_of_file(file: Path, overridden: Mapping[str, Any]) -> Iterator[Member]:
    values = read_values(file)
    axes = values.pop(AXES, {})
    exceptions = values.pop(EXCEPTIONS, [])
    final = values.setdefault("final", {})
    if isinstance(final, dict):  # a sweep compares, and trains no final model unless asked to
        values["final"] = {"images": "shots"} | final
    try:
        _check_axes(axes)
        _check_exceptions(exceptions, axes)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    for axis in axes.keys() & overridden.keys():
        axes[axis] = [overridden[axis]]
    count = math.prod(map(len, axes.values()))
    if count > MOST_STUDIES:
        raise ConfigError(f"{file}: {AXES} makes {count} studies; allowed are {MOST_STUDIES}")
    prefix = overridden.get("name") or file.resolve().parent.name
    for combination in itertools.product(*axes.values()):
        point = dict(zip(axes, combination, strict=True))
        parts = [prefix, file.stem, *combination]
        texts = [part if isinstance(part, str) else short_repr(part) for part in parts]
        name = "-".join(texts).replace(":", ".")
        changes = dict(point)
        for exception in exceptions:
            if all(point[axis] in choices for axis, choices in exception["for"].items()):
                changes |= exception["set"]
        changes |= overridden
        changes["name"] = name.replace("/", ".")
        yield Member(file.stem, point, build_config(values, f"{file} ({name})", changes))


def _check_axes(axes: Any) -> None:
    """Check that the values of all axes can be part of a name.

    Raises:
        ValueError: the first fault.
    """
    if not _has_text_keys(axes) or not all(isinstance(v, list) and v for v in axes.values()):
        raise ValueError(
            f"{AXES} is {short_repr(axes)}; allowed are dotted keys with lists of values"
        )
    for axis, values in axes.items():
        for value in values:
            if isinstance(value, dict | list | tuple | set):
                raise ValueError(
                    f"{AXES}.{axis}: {short_repr(value)} is no plain value, and a study is named "
                    "by it"
                )


def _check_exceptions(exceptions: Any, axes: Mapping[str, list[Any]]) -> None:
    """Check that each exception is for studies that the axes make.

    Raises:
        ValueError: the first fault.
    """
    if not isinstance(exceptions, list):
        raise ValueError(f"{EXCEPTIONS} is {short_repr(exceptions)}; allowed is a list")
    for number, exception in enumerate(exceptions):
        path = f"{EXCEPTIONS}.{number}"
        if not _is_exception(exception):
            raise ValueError(
                f"{path}: got {short_repr(exception)}; allowed is {{for: {{axis: [value, …]}}, "
                "set: {key: value}}"
            )
        for axis, values in exception["for"].items():
            unknown = values
            if isinstance(values, list):
                unknown = [value for value in values if value not in axes.get(axis, ())]
            if axis not in axes or not isinstance(values, list) or unknown:
                raise ValueError(
                    f"{path}.for.{axis}: {short_repr(unknown)} are no values of {AXES}.{axis}; "
                    f"axes are {', '.join(axes)}"
                )


def _is_exception(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"for", "set"}:
        return False
    return all(map(_has_text_keys, value.values()))


def _has_text_keys(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)
