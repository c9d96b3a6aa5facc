"""The study that a command names, made of its configuration, and all faults of that."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from study.commands.check import StudyFaults, find_faults
from study.commands.frozen_configuration import load_resumed_config
from study.commands.resolved_config import resolve_config, unfit_peers, without_baselines
from study.config.loading import OVERRIDES, ConfigFaults
from study.config.search_section import AUTO
from study.config.wording import faults_with_overrides, override_texts
from study.data.shots import ALL
from study.errors import StudyError
from study.method.recipe import are_unequal
from study.storage.study_folder import StudyFolder
from study.trial.study import Study


def make_study(source: Path, overrides: list[str], console: Console | None = None) -> Study:
    """Return a new study; it gets a unique name if the configuration has none.

    Args:
        source: the file of the configuration.
        overrides: values that replace those of the file.
        console: see `resolve_config`.

    Raises:
        ConfigFaults: the configuration has faults.
    """
    with _with_remaining_faults(overrides, source):
        config = resolve_config(source, overrides, console)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    config = config.model_copy(update={"name": config.name or unique})
    return with_metric(Study(config, StudyFolder(config.storage / str(config.name))))


def with_metric(study: Study) -> Study:
    """Decide what ``search.metric`` is, where the sizes of classes are to decide.

    Nothing is decided if the dataset cannot be read, which the check of the study reports.
    """
    config = study.config
    if config.search.metric != AUTO:
        return study
    try:
        class_averaged = _have_unequal_sizes(study) or study.protocol.class_averaged
    except StudyError:
        return study
    metric = "balanced_accuracy" if class_averaged else "accuracy"
    return study.with_config(config.with_section("search", metric=metric))


def _have_unequal_sizes(study: Study) -> bool:
    """Return whether a trained class has more than twice the images of another to learn from."""
    dataset, protocol, shots = study.dataset, study.protocol, study.config.data.shots
    if not protocol.trains or not dataset.train:
        return False
    if shots == ALL:
        shots = len(dataset.train)
    sizes = Counter(record.label for record in dataset.train)
    trained = next(iter(protocol.scored(dataset).values()))
    return are_unequal(min(sizes[label], shots) for label in trained)


def load_study(folder: StudyFolder, overrides: list[str]) -> Study:
    """Return the study of a folder, with settings that it may change.

    Raises:
        StudyError: its configuration cannot be read, or an override is not allowed.
    """
    with naming_overrides(overrides), _with_remaining_faults(overrides):
        return Study(load_resumed_config(folder, overrides), folder)


@contextmanager
def naming_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Add to the faults of a study the overrides that they come from."""
    try:
        yield
    except StudyFaults as error:
        texts = override_texts(overrides)
        raise StudyFaults(faults_with_overrides(texts, error.faults)) from None


@contextmanager
def _with_remaining_faults(overrides: list[str], source: Path | None = None) -> Iterator[None]:
    """Add to the faults of a configuration those that a check finds in its valid sections.

    Args:
        overrides: those of the command line, which are named in faults.
        source: the file of the configuration; None for that of a study that exists.
    """
    try:
        yield
    except ConfigFaults as error:
        if not error.valid_config:
            raise
        unfit = unfit_peers(error.valid_config, source, overrides)
        config = without_baselines(error.valid_config, unfit)
        skipped = {fault.partition(":")[0].partition(".")[0] for fault in error.faults}
        # A default that replaces a value of the wrong kind says nothing about its section. If only
        # baselines that are needed are missing, the rest of the search can be checked.
        if "search" not in {path.partition(".")[0] for path in error.replaced}:
            skipped.discard("search")
        study = Study(config, StudyFolder(config.storage / (config.name or secrets.token_hex(8))))
        resuming = source is None
        faults = find_faults(study, resuming=resuming, skipped=skipped, replaced=error.replaced)
        faults = faults_with_overrides(override_texts(overrides), faults)
        blamed = error.source
        if faults and blamed == OVERRIDES:
            blamed = "the study"
        raise ConfigFaults(blamed, error.faults + faults, config, error.replaced) from None
