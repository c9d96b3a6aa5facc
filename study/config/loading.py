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
    name_overrides,
    override_texts,
    relevant_faults,
)
from study.config.yaml_values import parse_overrides, put_value, read_values
from study.errors import Fault, FaultsError
from study.storage.file_format import FORMAT, KEY

OVERRIDES = "the overrides"
"""What a message blames if the file has no fault."""


class ConfigFaults(FaultsError):
    """All faults of a configuration."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        verb = "have" if source == OVERRIDES else "has"
        super().__init__(f"{source} {verb}", faults)


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
    whole = copy.deepcopy(dict(values))
    for key, value in (changes or {}).items():
        put_value(whole, key, value)
    try:
        config = StudyConfig.model_validate(whole)
    except ValidationError as error:
        faults = [describe_fault(fault) for fault in relevant_faults(error)]
    else:
        faults = broken_rules(config)
        if not faults:
            return config
    named = name_overrides(faults, overrides or {})
    # The file is not blamed for what overrides say.
    if all(fault != plain for fault, plain in zip(named, faults, strict=True)):
        source = OVERRIDES
    raise ConfigFaults(source, named)


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    values = {KEY: FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
