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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from study.config.faults import find_faults
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.yaml_text import short_repr
from study.config.yaml_values import parse_overrides, read_values
from study.errors import ConfigError, FaultsError
from study.storage.result_folder import FORMAT, KEY, JsonObject


class SweepException(BaseModel):
    """Values that some studies of a sweep have in place of others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    axes: dict[str, list[Any]] = Field(alias="for")
    """The studies that it is for: some of the values of some axes."""
    values: dict[str, Any] = Field(alias="set")
    """The values of these studies, by dotted key."""

    def is_for(self, point: Mapping[str, Any]) -> bool:
        """Return whether it is for the study with these values of the axes."""
        return all(point[axis] in values for axis, values in self.axes.items())


class Sweep(BaseModel):
    """The keys of a file that stands for several studies, beside those of a study."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Keys with dots, each with a list of values: a study for each combination."""
    exceptions: list[SweepException] = Field(default_factory=list)
    """Values that some of these studies have in place of others."""

    @model_validator(mode="after")
    def _check_exceptions(self) -> Self:
        for number, exception in enumerate(self.exceptions):
            for axis, values in exception.axes.items():
                unknown = [value for value in values if value not in self.sweep.get(axis, ())]
                if unknown or axis not in self.sweep:
                    raise ValueError(
                        f"exceptions.{number}.for.{axis}: {short_repr(unknown)} are not values of "
                        f"the sweep; its keys are {', '.join(self.sweep)}"
                    )
        return self


@dataclass(frozen=True)
class SweepStudy:
    """One study of a sweep.

    Its name is the same each time the sweep is run, so that a later run continues the study.
    """

    experiment: str
    """The name of the sweep's file, without the suffix."""
    axes: Mapping[str, Any]
    """The value of each axis, by dotted key."""
    config: StudyConfig
    """The configuration of the study."""


def json_schema() -> JsonObject:
    """Return the JSON schema of a file, one study or a sweep, by which editors complete it.

    It has the types of single values, and no rules between them.
    """
    schema: JsonObject = StudyConfig.model_json_schema()
    sweep = Sweep.model_json_schema()
    schema["properties"] |= {KEY: {"const": FORMAT, "description": "The format."}}
    schema["properties"] |= sweep["properties"]
    schema["$defs"] |= sweep["$defs"]
    return schema


def is_sweep(source: Path) -> bool:
    """Return whether a folder or file stands for several studies.

    Raises:
        ConfigError: the file cannot be read.
    """
    return source.is_dir() or "sweep" in read_values(source)


def load_sweep(source: Path, overrides: Sequence[str] = ()) -> list[SweepStudy]:
    """Read the studies of a file, or of all files in a folder.

    An override of an axis replaces all its values by one. Any other override holds for every study
    and takes precedence over the exceptions. ``name=…`` sets the beginning of the studies' names.

    Raises:
        ConfigError: there is no file, a file or one of its studies is invalid, or two studies would
            share a folder.
    """
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    if not files:
        raise ConfigError(f"the folder {source} contains no configuration (*.yaml)")
    overridden = parse_overrides(overrides)
    planned: list[SweepStudy] = []
    for file in files:
        planned += _studies_of_file(file, overridden)
    by_folder: dict[str, SweepStudy] = {}
    for one in planned:
        name = str(one.config.name)
        # Some disks do not tell capitals from small letters.
        other = by_folder.setdefault(name.casefold(), one)
        if other is not one:
            raise ConfigError(
                f"{source}: two studies would have the folder '{name}': "
                f"{short_repr(dict(other.axes))} and {short_repr(dict(one.axes))}"
            )
    return planned


def _studies_of_file(file: Path, overridden: Mapping[str, Any]) -> Iterator[SweepStudy]:
    values = read_values(file)
    given = {key: values.pop(key) for key in Sweep.model_fields if key in values}
    try:
        sweep = Sweep.model_validate(given)
    except ValidationError as error:
        raise FaultsError(f"{file} has", find_faults(error)) from error
    final = values.setdefault("final", {})
    if isinstance(final, dict):  # a sweep compares, and trains no final model unless asked to
        values["final"] = {"images": "shots"} | final
    axes = sweep.sweep
    for axis in axes.keys() & overridden.keys():
        axes[axis] = [overridden[axis]]
    prefix = overridden.get("name") or file.resolve().parent.name
    for combination in itertools.product(*axes.values()):
        point = dict(zip(axes, combination, strict=True))
        parts = [prefix, file.stem, *combination]
        texts = [part if isinstance(part, str) else short_repr(part) for part in parts]
        name = "-".join(texts).replace(":", ".")
        changes = dict(point)
        for exception in sweep.exceptions:
            if exception.is_for(point):
                changes |= exception.values
        changes |= overridden
        changes["name"] = name.replace("/", ".")
        yield SweepStudy(file.stem, point, build_config(values, f"{file} ({name})", changes))
