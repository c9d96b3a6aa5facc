"""Loading a configuration from YAML and overrides, with a report of all faults at once."""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from study.config.faults import find_faults
from study.config.renamed_keys import find_renamed
from study.config.rules import broken_rules
from study.config.schema import StudyConfig
from study.config.yaml_text import SafeDumper
from study.config.yaml_values import parse_overrides, put_value, read_values
from study.errors import ConfigError, FaultsError
from study.storage.result_folder import FORMAT, KEY


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
    changes = parse_overrides(overrides)
    title = f"{source} with overrides" if changes else str(source)
    return build_config(read_values(source, frozen=frozen), title, changes)


def build_config(
    values: Mapping[str, Any], source: str, overrides: Mapping[str, Any] | None = None
) -> StudyConfig:
    """Validate a mapping and return its configuration.

    Args:
        values: the sections and values.
        source: where they come from, for the message.
        overrides: further values by dotted key, which take precedence.

    Raises:
        ConfigError: a part of a dotted key before the last is not a section, or a refused text has
            half of a character.
        FaultsError: the configuration is invalid; the message lists every fault with its path, the
            value received and what is allowed. Keys of release 1.0.0 are listed alone, first.
    """
    whole = copy.deepcopy(dict(values))
    for key, value in (overrides or {}).items():
        put_value(whole, key, value)
    renamed = list(find_renamed(whole))
    if renamed:
        raise FaultsError(f"{source} has", renamed)
    try:
        config = StudyConfig.model_validate(whole)
    except UnicodeEncodeError as error:  # a refused text, which pydantic takes into no message
        character = error.object[error.start]
        raise ConfigError(
            f"{source} contains {character!r}, which is only half of a character"
        ) from None
    except ValidationError as error:
        faults = find_faults(error)
    else:
        faults = broken_rules(config)
    if faults:
        raise FaultsError(f"{source} has", faults)
    return config


def dump_config(config: StudyConfig) -> str:
    """Return the whole configuration, defaults included, as YAML that `load_config` reads."""
    values = {KEY: FORMAT, **config.model_dump(mode="json")}
    return str(yaml.dump(values, Dumper=SafeDumper, sort_keys=False, allow_unicode=True))
