"""The study that a command names, made of its configuration, and all faults of that."""

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from study.config.loading import OVERRIDES, ConfigFaults, load_config
from study.config.wording import faults_with_overrides, override_texts
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import (
    StudyFaults,
    find_faults,
    load_resumed_config,
    with_sites_of_backbone,
)


def make_study(source: Path, overrides: list[str]) -> Study:
    """Return a new study, which has a name of its own if the configuration gives it none.

    Args:
        source: the file of the configuration, or a folder of them.
        overrides: what stands for values of the file.

    Raises:
        ConfigFaults: the configuration has faults.
    """
    with _with_remaining_faults(overrides, resuming=False):
        config = with_sites_of_backbone(load_config(source, overrides))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    config = config.model_copy(update={"name": config.name or unique})
    return Study(config, StudyFolder(config.storage / str(config.name)))


def load_study(folder: StudyFolder, overrides: list[str]) -> Study:
    """Return the study of a folder, with settings that it may change.

    Raises:
        StudyError: it has no configuration that can be read, or an override may not be given.
    """
    with naming_overrides(overrides), _with_remaining_faults(overrides, resuming=True):
        return Study(load_resumed_config(folder, overrides), folder)


@contextmanager
def naming_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Let the faults of a study name the overrides that they come from."""
    try:
        yield
    except StudyFaults as found:
        raise StudyFaults(faults_with_overrides(override_texts(overrides), found.faults)) from None


@contextmanager
def _with_remaining_faults(overrides: list[str], *, resuming: bool) -> Iterator[None]:
    """Let faults of a configuration be told with those that a check finds in the other sections."""
    try:
        yield
    except ConfigFaults as faults:
        raise _and_remaining(faults, overrides, resuming=resuming) from None


def _and_remaining(faults: ConfigFaults, overrides: list[str], *, resuming: bool) -> ConfigFaults:
    """Return the faults, with those that a check of the valid sections finds as well."""
    if (rest := faults.valid_config) is None:
        return faults
    # A default stands in for a value of the wrong kind, and tells nothing of its section. Baselines
    # that are valid, but not those that are needed, hide no fault of the rest of the search.
    kept = {"search"} - {place.partition(".")[0] for place in faults.replaced}
    sections = {fault.partition(":")[0].partition(".")[0] for fault in faults.faults} - kept
    study = Study(rest, StudyFolder(rest.storage / (rest.name or secrets.token_hex(8))))
    found = find_faults(study, resuming=resuming, passing_over=sections, replaced=faults.replaced)
    found = faults_with_overrides(override_texts(overrides), found)
    source = "the study" if found and faults.source == OVERRIDES else faults.source
    return ConfigFaults(source, [*faults.faults, *found], rest, faults.replaced)
