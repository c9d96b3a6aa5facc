"""The configuration of a study that exists, which an earlier version may have written."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from study.config.loading import (
    build_config,
    parse_overrides,
    put_value,
    read_values,
)
from study.config.schema import LINEAR, StudyConfig
from study.config.wording import texts_of_overrides
from study.errors import ConfigError

HEADS = "search.space.heads"
"""A key that all earlier versions lacked."""
BEFORE: Mapping[str, Any] = {
    HEADS: ["text"],
    "search.space.neighbours": False,
    "confirm.strength": 1.0,
    "ablation.extend": False,
}
"""What all studies were like before their configuration had a key for it, by the key.

Such a study goes on as it was: the defaults of today are for new studies."""


def load_frozen(source: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read the frozen configuration of a study and apply ``key.path=value`` overrides.

    Raises:
        ConfigError: see `study.config.loading.load_config`.
    """
    values, given = read_values(source, frozen=True), list(overrides)
    for key in _missing(values):
        put_value(values, key, BEFORE[key])
    return build_config(values, str(source), parse_overrides(given), texts_of_overrides(given))


def as_frozen(config: StudyConfig, source: Path) -> StudyConfig:
    """Return the configuration that is meant for a study that exists: see `BEFORE`.

    Args:
        config: a configuration, whose defaults are those of today.
        source: the frozen configuration of the study.
    """
    frozen: dict[str, Any] = {}
    with suppress(ConfigError):  # which is the fault of the study, not of this configuration
        frozen = read_values(source)
    values = config.model_dump(mode="json")
    missing = _missing(frozen)
    for key in missing:
        if _is_default(config, key):
            put_value(values, key, BEFORE[key])
    if HEADS in missing and _is_default(config, "search.baselines"):
        del values["search"]["baselines"][LINEAR]
    return build_config(values, str(source))


def _is_default(config: StudyConfig, key: str) -> bool:
    """Return whether a configuration has the section of a dotted key, and the default in it."""
    *sections, name = key.split(".")
    section: Any = config
    for part in sections:
        section = getattr(section, part)
    if section is None:
        return False
    default = type(section).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(section, name) == default)


def _missing(values: Mapping[str, Any]) -> list[str]:
    """Return the keys of `BEFORE` whose section is among some values, but without them."""
    missing = []
    for key in BEFORE:
        *sections, name = key.split(".")
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and name not in section:
            missing.append(key)
    return missing
