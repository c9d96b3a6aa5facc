"""Load a configuration from YAML and overrides, and report all its faults at once."""

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
"""The largest number of characters of a value in a message."""
MOST_FAULTS = 50
"""The largest number of faults in a message."""


class ConfigFaults(ConfigError):
    """All faults of a configuration, and the configuration without the faulty values."""

    def __init__(
        self,
        source: str,
        faults: Sequence[str],
        rest: StudyConfig | None,
        replaced: Sequence[str] = (),
    ) -> None:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        if len(faults) > MOST_FAULTS:
            count = f"more than {MOST_FAULTS} faults"
        lines = "\n".join(f"  {fault}" for fault in faults[:MOST_FAULTS])
        super().__init__(f"{source} has {count}:\n{lines}")
        self.source = source
        self.faults = list(faults)
        self.rest = rest
        """The configuration with defaults for the faulty values; None means too little is valid."""
        self.replaced = list(replaced)
        """The places of these defaults, section and field."""


def load_config(source: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Raises:
        ConfigError: if the file or an override is invalid; the message lists every fault of the
            configuration with its path.
    """
    values = read_values(source)
    for key, value in parse_overrides(overrides).items():
        put_value(values, key, value)
    return build_config(values, str(source))


def read_values(source: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping, without validating its values.

    Raises:
        ConfigError: if the file cannot be read or is not a YAML mapping; the message names it.
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
    """Read YAML.

    Args:
        text: the YAML.
        what: the beginning of the message, such as "configuration study.yaml is".

    Raises:
        ConfigError: if the text is not valid YAML.
    """
    try:
        return yaml.load(text, _SafeLoader)
    except Exception as error:  # PyYAML raises many kinds, such as ValueError on 2001-02-30
        reason = error if isinstance(error, yaml.YAMLError) else repr(error)
        raise ConfigError(f"{what} not valid YAML: {str(reason)[:1000]}") from error


class _SafeLoader(yaml.SafeLoader):
    """A safe loader that rejects repeated keys, where PyYAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping, or raise ConstructorError if a key is repeated."""
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
    """Return a value as it is written in Python, cut short for a message.

    The cut also holds for aliases of YAML, which can make a value endless or huge.
    """
    return _SHORT.repr(value)[:LONGEST]


class _Short(reprlib.Repr):
    """The Python form of values, cut at `LONGEST` characters and 6 levels of nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = LONGEST

    def repr_int(self, value: int, level: int) -> str:
        """Return a number, or its size if it is too long for Python to write out."""
        try:
            return super().repr_int(value, level)
        except ValueError:
            return f"a number of {value.bit_length()} bits"


_SHORT = _Short()


def build_config(values: Mapping[str, Any], source: str) -> StudyConfig:
    """Validate a mapping and return its configuration.

    Args:
        values: the sections and values.
        source: where they come from, for the message.

    Raises:
        ConfigFaults: if it is invalid; the message lists every fault with its path, the value got
            and what is allowed.
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        found = _all_faults(values, error)
    raise ConfigFaults(source, *found)


def _all_faults(
    values: Mapping[str, Any], error: ValidationError
) -> tuple[list[str], StudyConfig | None, list[str]]:
    """Return all faults, the configuration with defaults for the faulty values, and their places.

    The schema compares its parts only if each of them is valid. The values are therefore validated
    again without the faulty ones, so that faults between parts are found as well.
    """
    rest = copy.deepcopy(dict(values))
    reported = error.errors()[: MOST_FAULTS + 1]
    faults = [line for fault in reported for line in _describe(fault).splitlines()]
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
        # Do not report a default that only replaces a faulty value.
        blamed = (line for line in config.disagreements() if not any(d in line for d in dropped))
        return [*faults, *(() if compared else blamed)], config, dropped
    return faults, None, dropped


def _drop(values: dict[str, Any], location: Sequence[int | str]) -> None:
    """Delete the value at a location, or the innermost mapping entry that would contain it."""
    for key, inner in zip(location, [*location[1:], None], strict=False):
        if not isinstance(values, dict) or key not in values:
            return
        if not isinstance(values[key], dict) or inner not in values[key]:
            del values[key]
            return
        values = values[key]


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the values of overrides by dotted key.

    Raises:
        ConfigError: if one is not of the form ``section.field=value``, its value is not valid YAML,
            or two set the same value, so that their order decides.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    repeated = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"override '{override[:LONGEST]}' is not of the form section.field=value"
            )
        value = _read_yaml(text, f"override '{override[:LONGEST]}': the value is")
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


def put_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key in place, and create missing sections.

    Raises:
        ConfigError: if a part of the key before the last is not a section.
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
        if field is None:  # a baseline's label; the value type has its fields
            continue
        types = (field.annotation, *getattr(field.annotation, "__args__", ()))
        sections = (t for t in types if isinstance(t, type) and issubclass(t, BaseModel))
        section = next(sections, section)
    return section.model_fields


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
