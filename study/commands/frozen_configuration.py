"""The frozen configuration of a study that exists; only what changes no result may change."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from study import tracking
from study.config.faults import short_repr
from study.config.loading import load_config
from study.config.schema import WITHOUT_EFFECT, StudyConfig, TrackingConfig
from study.errors import ConfigError
from study.storage.ledger_files import DamagedError, JsonObject
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.study import Study

MAY_CHANGE = ("storage", *WITHOUT_EFFECT)
"""The beginnings of the keys that a resumed study may change."""


def frozen_config(folder: StudyFolder) -> StudyConfig:
    """Read the frozen configuration of a study.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: the configuration does not fit this version of the schema.
    """
    # The tracker of the study itself is not known yet.
    with tracker_advice(tracking.make_tracker(TrackingConfig().tracker)):
        folder.refuse_damaged()
    return load_config(folder.config_path, frozen=True)


@contextmanager
def tracker_advice(tracker: Tracker) -> Iterator[None]:
    """Add to errors of the block where a tracker may have copies of damaged files.

    Raises:
        DamagedError: that of the block, with the advice of the tracker as its last line.
    """
    try:
        yield
    except DamagedError as error:
        lines = f"{error}\n{tracker.advice}"
        raise DamagedError(lines.removesuffix("\n")) from error


def load_study(folder: StudyFolder, overrides: Iterable[str]) -> Study:
    """Return the study of a folder, with overrides of settings that may change.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: an override is invalid, or would change results.
    """
    frozen = frozen_config(folder)
    config = load_config(folder.config_path, overrides, frozen=True)
    changes = changes_of_results(frozen, config)
    if changes:
        lines = [
            f"study '{folder.name}' exists, and would no longer compare its trials if these "
            "changed; allowed to change are storage, resources and tracking, and search.trials "
            "by clipfit-study extend:"
        ]
        lines += changes
        raise ConfigError("\n  ".join(lines))
    return Study(config, folder)


def changes_of_results(
    frozen: StudyConfig, config: StudyConfig, *, besides: Collection[str] = ()
) -> list[str]:
    """Return a line for each setting by which a configuration would give other results.

    Args:
        frozen: the configuration of the study.
        config: the configuration that is to replace it.
        besides: further keys that may differ.
    """
    before = frozen.with_absolute_folders().model_dump(mode="json")
    after = config.with_absolute_folders().model_dump(mode="json")
    return [
        f"{key}: is frozen as {short_repr(old)}, got {short_repr(new)}"
        for key, old, new in _differences(before, after)
        if not key.startswith(MAY_CHANGE) and key not in besides
    ]


def _differences(
    before: JsonObject, after: JsonObject, section: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose values differ, and both values."""
    for name in before | after:
        old = before.get(name)
        new = after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{section}{name}.")
        elif old != new:
            yield f"{section}{name}", old, new
