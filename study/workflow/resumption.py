"""The configuration of an existing study: frozen, except for settings that change no result."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from study.config.loading import load_config, shown
from study.config.schema import WITHOUT_EFFECT, StudyConfig
from study.errors import ConfigError
from study.storage.ledger import LedgerError, StudyFolder

MAY_CHANGE = ("storage", "ablation.reuse", *WITHOUT_EFFECT)
"""The beginnings of the keys that a resumed study may change."""


def frozen_config(folder: StudyFolder) -> StudyConfig:
    """Read the frozen configuration of a study.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: the configuration does not fit this version of the schema.
    """
    folder.refuse_damaged()
    config = load_config(folder.config_path)
    if config.name is None:  # as in an emptied file of a study from before there was a checksum
        raise LedgerError(
            f"{folder.config_path} is damaged: a frozen configuration has a name; put it back from "
            "a copy; MLflow has one, the artifact study.yaml of the study's own run"
        )
    return config


def resumed_config(folder: StudyFolder, overrides: Iterable[str]) -> StudyConfig:
    """Return the frozen configuration with overrides of settings that may change.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: an override is invalid, or would change results.
    """
    frozen = frozen_config(folder)
    config = load_config(folder.config_path, overrides)
    if refused := changes_of_results(frozen, config):
        lines = "\n".join(f"  {line}" for line in refused)
        raise ConfigError(
            f"study '{folder.name}' exists, and would no longer compare its trials if these "
            "changed; allowed to change are storage, resources and tracking, and search.trials "
            f"by --extend:\n{lines}"
        )
    return config


def changes_of_results(
    frozen: StudyConfig, config: StudyConfig, *, besides: Collection[str] = ()
) -> list[str]:
    """Return a line for each setting by which a configuration would give other results.

    Args:
        frozen: the configuration of the study.
        config: the configuration that is wanted instead.
        besides: further keys that may differ.
    """
    changes = _differences(frozen.model_dump(mode="json"), config.model_dump(mode="json"))
    return [
        f"{key}: is frozen as {shown(before)}, got {shown(after)}"
        for key, before, after in changes
        if not key.startswith(MAY_CHANGE) and key not in besides
    ]


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], section: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose values differ, and both values."""
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{section}{name}.")
        elif old != new:
            yield f"{section}{name}", old, new
