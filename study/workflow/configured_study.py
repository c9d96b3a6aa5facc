"""The study that a command names, made of its configuration, and all faults of that."""

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from study.backbones.description import backbone_path, read_family
from study.config.loading import OVERRIDES, ConfigFaults, load_config
from study.config.schema import StudyConfig
from study.config.shipped import is_shipped
from study.config.wording import faults_with_overrides, override_texts
from study.config.yaml_values import parse_overrides
from study.errors import BackboneError
from study.method.peers import PEERS
from study.process.terminal_table import print_sentences
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import (
    StudyFaults,
    find_faults,
    load_resumed_config,
    with_sites_of_backbone,
)


def make_study(source: Path, overrides: list[str], console: Console | None = None) -> Study:
    """Return a new study, which has a name of its own if the configuration gives it none.

    A peer of a shipped configuration that cannot be trained on the backbone is left out, unless an
    override asks for it.

    Args:
        source: the file of the configuration, or a folder of them.
        overrides: what stands for values of the file.
        console: where it is printed that a peer is left out.

    Raises:
        ConfigFaults: the configuration has faults.
    """
    with _with_remaining_faults(overrides, resuming=False, source=source):
        config = with_sites_of_backbone(load_config(source, overrides))
    left_out = _unfit_defaults(config, source, overrides)
    config = _without_baselines(config, left_out)
    if console is not None:
        for label in left_out:
            sentence = (
                f"search.baselines.{label} of {source.name} is left out, since "
                f"{config.backbone.name} cannot be trained in this way"
            )
            print_sentences(console, sentence, "yellow")
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


def _unfit_defaults(config: StudyConfig, source: Path | None, overrides: list[str]) -> list[str]:
    """Return the peers that a shipped configuration has, and its backbone cannot be trained by.

    A backbone that cannot be read has none; checking the study finds that fault.

    Args:
        config: the configuration.
        source: its file; None for the configuration of a study that exists.
        overrides: the overrides; a peer that one of them asks for is not returned.
    """
    if source is None or not is_shipped(source):
        return []
    backbone = config.backbone
    try:
        family = read_family(backbone_path(backbone.name), revision=backbone.revision)
    except BackboneError:
        return []
    asked = parse_overrides(overrides)
    labels = []
    for label, method in config.search.peer_methods.items():
        keys = ("search", "search.baselines", f"search.baselines.{label}")
        is_asked = any(key in keys or key.startswith(f"{keys[-1]}.") for key in asked)
        fits = family is None or family in PEERS[method].families
        if not fits and not is_asked:
            labels.append(label)
    return labels


def _without_baselines(config: StudyConfig, labels: Sequence[str]) -> StudyConfig:
    """Return a configuration without some of its baselines."""
    baselines = dict(config.search.baselines)
    for label in labels:
        del baselines[label]
    search = config.search.model_copy(update={"baselines": baselines})
    return config.model_copy(update={"search": search})


@contextmanager
def naming_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Let the faults of a study name the overrides that they come from."""
    try:
        yield
    except StudyFaults as found:
        raise StudyFaults(faults_with_overrides(override_texts(overrides), found.faults)) from None


@contextmanager
def _with_remaining_faults(
    overrides: list[str], *, resuming: bool, source: Path | None = None
) -> Iterator[None]:
    """Let faults of a configuration be told with those that a check finds in the other sections."""
    try:
        yield
    except ConfigFaults as faults:
        if faults.valid_config is not None:
            left_out = _unfit_defaults(faults.valid_config, source, overrides)
            faults.valid_config = _without_baselines(faults.valid_config, left_out)
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
