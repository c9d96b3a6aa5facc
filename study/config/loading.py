"""Loading a configuration from YAML and overrides, with a report of all faults at once."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.config.rules import broken_rules
from study.config.schema import StudyConfig
from study.config.wording import (
    Texts,
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
"""What a message blames if the file has no fault."""


class ConfigFaults(ConfigError):
    """All faults of a configuration, and the configuration without the faulty values."""

    def __init__(
        self,
        source: str,
        faults: Sequence[str],
        valid_config: StudyConfig | None,
        replaced: Sequence[str] = (),
    ) -> None:
        count = str(len(faults))
        if len(faults) > MOST_FAULTS:
            count = f"more than {MOST_FAULTS}"
        verb = "has"
        if source == OVERRIDES:
            verb = "have"
        noun = "fault"
        if len(faults) > 1:
            noun = "faults"
        lines = [f"{source} {verb} {count} {noun}:", *faults[:MOST_FAULTS]]
        super().__init__("\n  ".join(lines))
        self.source = source
        self.faults = list(faults)
        self.valid_config = valid_config
        """The configuration with defaults for the faulty values; None if too little is valid."""
        self.replaced = list(replaced)
        """The paths of these defaults, section and field."""


def load_config(
    source: Path, overrides: Iterable[str] = (), *, frozen: bool = False
) -> StudyConfig:
    """Read a YAML file and apply ``key.path=value`` overrides, whose values are YAML too.

    Args:
        source: the file.
        overrides: the overrides.
        frozen: whether it is the frozen configuration of a study, which has a format number.

    Raises:
        ConfigError: the file or an override is invalid; the message lists every fault of the
            configuration with its path.
    """
    overrides = list(overrides)
    values = read_values(source, frozen=frozen)
    return build_config(values, str(source), parse_overrides(overrides), override_texts(overrides))


def build_config(
    values: Mapping[str, Any],
    source: str,
    changes: Mapping[str, Any] | None = None,
    overrides: Texts | None = None,
) -> StudyConfig:
    """Validate a mapping and return its configuration.

    Args:
        values: the sections and values.
        source: where they come from, for the message.
        changes: further values by dotted key, which take precedence.
        overrides: the texts of those changes that are overrides, by dotted key; faults of these
            values name the texts, and not the source.

    Raises:
        ConfigError: a part of a dotted key before the last is not a section.
        ConfigFaults: the configuration is invalid; the message lists every fault with its path, the
            value got and what is allowed.
    """
    remaining = copy.deepcopy(dict(values))
    for key, value in (changes or {}).items():
        put_value(remaining, key, value)
    config, faults, dropped = _validate(remaining)
    if config:
        # Do not report a default that only replaces a faulty value, or a section of such values.
        replaced = [path if "." in path else f"{path}." for path in dropped]
        for rule in broken_rules(config):
            if not any(path in rule for path in replaced):
                faults.append(rule)
    if faults or not config:
        lines = faults_with_overrides(overrides or {}, faults)
        if all(line != fault for line, fault in zip(lines, faults, strict=True)):
            source = OVERRIDES
        raise ConfigFaults(source, lines, config, dropped)
    return config


def _validate(values: dict[str, Any]) -> tuple[StudyConfig | None, list[str], list[str]]:
    """Validate values, and delete those that are faulty until the others are valid.

    Returns:
        The configuration, or None if too little is valid; the faults; and the paths of the deleted
        values, section and field.
    """
    faults: list[str] = []
    dropped: list[str] = []
    # Rules between values are checked only if each value is valid. So the faulty values are left
    # out, and if that is not enough, the sections around them; the last attempt takes what is left.
    for depth in (None, 2, 1, 1):
        try:
            return StudyConfig.model_validate(values), faults, dropped
        except ValidationError as error:
            invalid = relevant_faults(error)
        if not faults:
            for fault in invalid[: MOST_FAULTS + 1]:
                faults += describe_fault(fault).splitlines()
        for fault in invalid:
            path = fault_path(fault)
            _drop(values, path[:depth])
            dropped.append(".".join(map(str, path[:2])))
    return None, faults, dropped


def _drop(values: dict[Any, Any], path: Sequence[int | str]) -> None:
    """Delete the value at a path, or the innermost mapping entry that would contain it."""
    key = path[0]
    inner = values.get(key)
    if len(path) > 1 and isinstance(inner, dict) and path[1] in inner:
        _drop(inner, path[1:])
    else:
        values.pop(key, None)


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    values = {KEY: FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
