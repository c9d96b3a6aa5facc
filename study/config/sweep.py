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

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.wording import override_texts, short_repr
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
        ConfigError: if the file cannot be read.
    """
    return source.is_dir() or AXES in read_values(source)


def load_sweep(source: Path, overrides: Sequence[str] = ()) -> list[Member]:
    """Read the studies of a file, or of all files in a folder.

    An override of an axis replaces all its values by one. Any other override holds for every study
    and takes precedence over the exceptions. ``name=…`` sets the beginning of the studies' names.

    Raises:
        ConfigError: if there is no file, a file or one of its studies is invalid, or two studies
            would have one folder.
    """
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"the folder {source} holds no configuration (*.yaml)")
    overridden = parse_overrides(overrides)
    texts = override_texts(overrides)
    members = [member for file in files for member in _members(file, overridden, texts)]
    of_folders: dict[str, Member] = {}
    for member in members:
        name = str(member.config.name)
        # Some disks do not tell capitals from small letters.
        other = of_folders.setdefault(name.casefold(), member)
        if other is not member:
            raise ConfigError(
                f"{source}: two studies would share the folder '{name}': that of "
                f"{short_repr(dict(other.axes))} and that of {short_repr(dict(member.axes))}"
            )
    return members


def _members(
    file: Path, overridden: Mapping[str, Any], texts: Mapping[str, str]
) -> Iterator[Member]:
    values = read_values(file)
    axes, exceptions = values.pop(AXES, {}), values.pop(EXCEPTIONS, [])
    try:
        _check_sweep(axes, exceptions)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    axes = {
        axis: [overridden[axis]] if axis in overridden else choices
        for axis, choices in axes.items()
    }
    count = math.prod(map(len, axes.values()))
    if count > MOST_STUDIES:
        raise ConfigError(f"{file}: {AXES} makes {count} studies; allowed are {MOST_STUDIES}")
    prefix = overridden.get("name") or file.resolve().parent.name
    for combination in itertools.product(*axes.values()):
        point = dict(zip(axes, combination, strict=True))
        parts = (
            p if isinstance(p, str) else short_repr(p) for p in (prefix, file.stem, *combination)
        )
        name = "-".join(parts).replace(":", ".")
        changes = dict(point)
        for exception in exceptions:
            if all(point[axis] in choices for axis, choices in exception["for"].items()):
                changes |= exception["set"]
        changes |= {**overridden, "name": name.replace("/", ".")}
        config = build_config(values, f"{file} ({name})", changes, texts)
        yield Member(file.stem, point, config)


def _check_sweep(axes: Any, exceptions: Any) -> None:
    """Check that axes make studies that can be named, and that exceptions are for some of these.

    Raises:
        ValueError: the first fault.
    """
    if not _is_keyed(axes) or not all(isinstance(v, list) and v for v in axes.values()):
        raise ValueError(
            f"{AXES} is {short_repr(axes)}; allowed are dotted keys with lists of values"
        )
    if not isinstance(exceptions, list):
        raise ValueError(f"{EXCEPTIONS} is {short_repr(exceptions)}; allowed is a list")
    for axis, values in axes.items():
        for value in values:
            if isinstance(value, dict | list | tuple | set):
                raise ValueError(
                    f"{AXES}.{axis}: {short_repr(value)} is no plain value, and a study is named "
                    "by it"
                )
    for number, exception in enumerate(exceptions):
        place = f"{EXCEPTIONS}.{number}"
        parts = exception if isinstance(exception, dict) else {}
        if set(parts) != {"for", "set"} or not all(map(_is_keyed, parts.values())):
            raise ValueError(
                f"{place}: got {short_repr(exception)}; allowed is {{for: {{axis: [value, …]}}, "
                "set: {key: value}}"
            )
        for axis, values in parts["for"].items():
            listed = isinstance(values, list)
            strange = values
            if listed:
                strange = [value for value in values if value not in axes.get(axis, ())]
            if axis not in axes or not listed or strange:
                raise ValueError(
                    f"{place}.for.{axis}: {short_repr(strange)} are no values of {AXES}.{axis}; "
                    f"axes are {', '.join(axes)}"
                )


def _is_keyed(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(key, str) for key in part)
