"""Configurations as files: YAML and overrides to the schema, with all faults told at once."""

from __future__ import annotations

import copy
import difflib
import reprlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from study.config.schema import APART, StudyConfig
from study.errors import ConfigError

LONGEST = 200
"""Characters of a value in a message."""
MOST_FAULTS = 50
"""Faults that are told."""


class ConfigFaults(ConfigError):
    """All faults of a configuration, and what can be read of it in spite of them."""

    def __init__(self, source: str, faults: Sequence[str], rest: StudyConfig | None) -> None:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        if len(faults) > MOST_FAULTS:
            count = f"more than {MOST_FAULTS} faults"
        lines = "\n".join(f"  {fault}" for fault in faults[:MOST_FAULTS])
        super().__init__(f"{source} has {count}:\n{lines}")
        self.source = source
        self.faults = list(faults)
        self.rest = rest
        """With defaults for what is at fault; None where too little is sound."""


def load_config(source: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Raises:
        ConfigError: every fault of the file and the overrides, each with its path.
    """
    values = read_values(source)
    for key, value in parse_overrides(overrides).items():
        put_value(values, key, value)
    return build_config(values, str(source))


def read_values(source: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; nothing in it is validated yet.

    Raises:
        ConfigError: naming the file.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {source} cannot be read: {error}") from error
    values = _read_yaml(text, f"configuration {source} is") or {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"configuration {source} must be a mapping of sections, got {shown(values)}"
        )
    return values


def _read_yaml(text: str, what: str) -> Any:
    """Read YAML; its errors begin with what it is.

    Raises:
        ConfigError: it is not valid.
    """
    try:
        return yaml.load(text, _SafeLoader)
    except Exception as error:  # PyYAML raises many kinds, such as ValueError on 2001-02-30
        told = error if isinstance(error, yaml.YAMLError) else repr(error)
        raise ConfigError(f"{what} not valid YAML: {str(told)[:1000]}") from error


class _SafeLoader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """See `yaml.constructor.SafeConstructor`."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key in (k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode)):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key}' is given twice", node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def shown(value: Any) -> str:
    """Quote a value in a message, cut short: what unfolds without end must not do so here."""
    return _SHORT.repr(value)[:LONGEST]


class _Short(reprlib.Repr):
    """Values as they are written in Python, cut at `LONGEST` characters and 6 levels."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONGEST

    def repr_int(self, value: int, level: int) -> str:
        """Give the size of a number that Python refuses to write out."""
        try:
            return super().repr_int(value, level)
        except ValueError:
            return f"a number of {value.bit_length()} bits"


_SHORT = _Short()


def build_config(values: Mapping[str, Any], source: str) -> StudyConfig:
    """Validate a mapping.

    Raises:
        ConfigFaults: every fault, each with its path, what was got and what is allowed.
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        faults, rest = _all_faults(values, error)
    raise ConfigFaults(source, faults, rest)


def _all_faults(
    values: Mapping[str, Any], error: ValidationError
) -> tuple[list[str], StudyConfig | None]:
    """Validate again without what is at fault, since parts are compared only where all are sound.

    Gives the faults, and a configuration with defaults for what is at fault.
    """
    rest = copy.deepcopy(dict(values))
    told = error.errors()[: MOST_FAULTS + 1]
    faults = [line for fault in told for line in _describe(fault).splitlines()]
    compared = any(not fault["loc"] for fault in error.errors())
    dropped: list[str] = []
    for depth in (None, 2, 1):
        for fault in error.errors():
            _drop(rest, fault["loc"][:depth])
            dropped += [".".join(map(str, fault["loc"][:2]))] if fault["loc"] else []
        try:
            config = StudyConfig.model_validate(rest, context=APART)
        except ValidationError as next_error:
            error = next_error
            continue
        # A default that stands in for a fault must not be blamed.
        blamed = (line for line in config.disagreements() if not any(d in line for d in dropped))
        return [*faults, *(() if compared else blamed)], config
    return faults, None


def _drop(values: dict[str, Any], location: Sequence[int | str]) -> None:
    """Take out the value at a location, or the mapping's entry that it is a part of."""
    for key, inner in zip(location, [*location[1:], None], strict=False):
        if not isinstance(values, dict) or key not in values:
            return
        if not isinstance(values[key], dict) or inner not in values[key]:
            del values[key]
            return
        values = values[key]


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Read overrides; return their values by dotted key.

    Raises:
        ConfigError: one is malformed, or two set the same value, so that their order would decide.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    repeated = []
    for override in overrides:
        key, value = _parse_override(override)
        repeated += [
            f"'{other[:LONGEST]}' and '{override[:LONGEST]}'"
            for known, other in given.items()
            if f"{key}.".startswith(f"{known}.") or f"{known}.".startswith(f"{key}.")
        ]
        given[key], values[key] = override, value
    if repeated:
        raise ConfigError(
            "overrides set the same value twice; allowed is one of each pair:\n  "
            + "\n  ".join(repeated)
        )
    return values


def _parse_override(override: str) -> tuple[str, Any]:
    """Read ``section.field=value``; give the dotted key and the value."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override '{override[:LONGEST]}' is not of the form section.field=value")
    return key, _read_yaml(text, f"override '{override[:LONGEST]}': the value is")


def put_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at a dotted key, making sections on the way.

    Raises:
        ConfigError: something on the way is no section.
    """
    *sections, field = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{key}' cannot be set: {section} is {shown(inner)}, not a section")
        values = inner
    values[field] = value


def _describe(fault: Any) -> str:
    path = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    if fault["type"] == "extra_forbidden":
        known = list(_fields_at(fault["loc"][:-1]))
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"allowed are {', '.join(known)}"
        return f"{path}: unknown key; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict | BaseModel):
        return f"{path}: {message}" if path else message
    return f"{path}: {message}, got {shown(fault['input'])}"


def _fields_at(location: tuple[Any, ...]) -> Iterable[str]:
    section: type[BaseModel] = StudyConfig
    for part in location:
        field = section.model_fields.get(part)
        if field is None:  # the label of a baseline: its fields are those of the value type
            continue
        types = (field.annotation, *getattr(field.annotation, "__args__", ()))
        sections = (t for t in types if isinstance(t, type) and issubclass(t, BaseModel))
        section = next(sections, section)
    return section.model_fields


def dump_config(config: StudyConfig) -> str:
    """Give the whole configuration, defaults included, as YAML that `load_config` reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
