"""Load a configuration from YAML and overrides, and report all its faults at once."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.config.rules import broken_rules
from study.config.schema import StudyConfig
from study.config.wording import (
    UNKNOWN_KEY,
    describe_fault,
    fault_path,
    faults_with_overrides,
    override_texts,
    relevant_faults,
)
from study.config.yaml_values import parse_overrides, put_value, read_values
from study.errors import ConfigError
from study.storage.file_format import FORMAT, KEY

MOST_FAULTS = 50
"""The largest number of faults in a message."""
OVERRIDES = "the overrides"
"""What is at fault if the file is not."""


class ConfigFaults(ConfigError):
    """All faults of a configuration, and the configuration without the faulty values."""

    def __init__(
        self,
        source: str,
        faults: Sequence[str],
        rest: StudyConfig | None,
        replaced: Sequence[str] = (),
    ) -> None:
        count = str(len(faults)) if len(faults) <= MOST_FAULTS else f"more than {MOST_FAULTS}"
        lines = "\n".join(f"  {fault}" for fault in faults[:MOST_FAULTS])
        verb = "have" if source == OVERRIDES else "has"
        super().__init__(f"{source} {verb} {count} fault{'s' if len(faults) > 1 else ''}:\n{lines}")
        self.source = source
        self.faults = list(faults)
        self.rest = rest
        """The configuration with defaults for the faulty values; None means too little is valid."""
        self.replaced = list(replaced)
        """The places of these defaults, section and field."""

    @property
    def has_unknown_key(self) -> bool:
        """Whether one of the faults is a key that does not exist."""
        return any(f": {UNKNOWN_KEY}; " in fault for fault in self.faults)


def load_config(
    source: Path, overrides: Iterable[str] = (), *, frozen: bool = False
) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Args:
        source: the file.
        overrides: the overrides.
        frozen: whether it is of a study, and so must have a format number.

    Raises:
        ConfigError: if the file or an override is invalid; the message lists every fault of the
            configuration with its path.
    """
    overrides = list(overrides)
    values = read_values(source, frozen=frozen)
    changes = parse_overrides(overrides)
    return build_config(values, str(source), changes, override_texts(overrides))


def build_config(
    values: Mapping[str, Any],
    source: str,
    changes: Mapping[str, Any] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> StudyConfig:
    """Validate a mapping and return its configuration.

    Args:
        values: the sections and values.
        source: where they come from, for the message.
        changes: further values by dotted key, which take precedence.
        overrides: what the user wrote for those of the changes that are overrides, by dotted key;
            their faults name it, and not the source.

    Raises:
        ConfigError: if a part of a dotted key before the last is not a section.
        ConfigFaults: if it is invalid; the message lists every fault with its path, the value got
            and what is allowed.
    """
    rest = copy.deepcopy(dict(values))
    for key, value in (changes or {}).items():
        put_value(rest, key, value)
    config: StudyConfig | None = None
    faults: list[str] = []
    dropped: list[str] = []
    # The parts are compared only if each of them is valid. So the faulty values are left out, and
    # if that is not enough, what contains them; the last look is at what is left.
    for depth in (None, 2, 1, 1):
        try:
            config = StudyConfig.model_validate(rest)
            break
        except ValidationError as error:
            invalid = relevant_faults(error)
        if not faults:
            faults = "\n".join(map(describe_fault, invalid[: MOST_FAULTS + 1])).splitlines()
        for place in map(fault_path, invalid):
            _drop(rest, place[:depth])
            dropped.append(".".join(map(str, place[:2])))
    # Do not report a default that only replaces a faulty value, or a section of such values.
    replaced = [place if "." in place else f"{place}." for place in dropped]
    compared = broken_rules(config) if config else []
    faults += [line for line in compared if not any(place in line for place in replaced)]
    if faults or config is None:
        named = faults_with_overrides(overrides or {}, faults)
        if all(told != fault for told, fault in zip(named, faults, strict=True)):
            source = OVERRIDES
        raise ConfigFaults(source, named, config, dropped)
    return config


def _drop(values: dict[Any, Any], location: Sequence[int | str]) -> None:
    """Delete the value at a location, or the innermost mapping entry that would contain it."""
    key, *below = location
    if below and isinstance(inner := values.get(key), dict) and below[0] in inner:
        _drop(inner, below)
    else:
        values.pop(key, None)


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    values = {KEY: FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
