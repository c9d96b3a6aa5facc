"""The study that a command names, made of its configuration, and all faults of that."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from study.backbones.architecture import Family
from study.backbones.description import EMBEDDED, backbone_path, read_family
from study.config.loading import OVERRIDES, ConfigFaults, load_config
from study.config.schema import StudyConfig
from study.config.search_section import AUTO, SITES_OF, SpaceConfig
from study.config.shipped import is_shipped
from study.config.wording import faults_with_overrides, override_texts
from study.config.yaml_values import parse_overrides
from study.data.shots import ALL
from study.errors import BackboneError, StudyError
from study.method.peers import PEERS
from study.process.terminal_table import print_sentences
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import StudyFaults, find_faults
from study.workflow.frozen_configuration import load_resumed_config
from study.workflow.start_warnings import UNEQUAL

BY_DATA = ("training.balance", "search.metric")
"""The keys that the sizes of classes decide."""


def make_study(source: Path, overrides: list[str], console: Console | None = None) -> Study:
    """Return a new study; it gets a unique name if the configuration has none.

    A peer of a shipped configuration that cannot be trained on the backbone is left out, unless an
    override asks for it.

    Args:
        source: the file of the configuration, or a folder of them.
        overrides: values that replace those of the file.
        console: where a line on each peer that is left out is printed.

    Raises:
        ConfigFaults: the configuration has faults.
    """
    with _with_remaining_faults(overrides, resuming=False, source=source):
        config = with_sites_of_backbone(load_config(source, overrides))
    unfit = _unfit_peers(config, source, overrides)
    config = _without_baselines(config, unfit)
    if console is not None:
        for label in unfit:
            sentence = (
                f"search.baselines.{label} of {source.name} is left out, since "
                f"{config.backbone.name} cannot be trained in this way"
            )
            print_sentences(console, sentence, "yellow")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    config = config.model_copy(update={"name": config.name or unique})
    return by_class_sizes(Study(config, StudyFolder(config.storage / str(config.name))))


def by_class_sizes(study: Study) -> Study:
    """Decide what ``training.balance`` and ``search.metric`` are, where the data is to decide.

    Nothing is decided if the dataset cannot be read, which the check of the study reports.
    """
    config = study.config
    try:
        unequal = _have_unequal_sizes(study)
        class_averaged = unequal or study.protocol().class_averaged
    except StudyError:
        return study
    training = config.training
    search = config.search
    if training.balance == AUTO:
        balance = "logit_adjusted" if unequal else "none"
        training = training.model_copy(update={"balance": balance})
    if search.metric == AUTO:
        metric = "balanced_accuracy" if class_averaged else "accuracy"
        search = search.model_copy(update={"metric": metric})
    return study.with_config(config.model_copy(update={"training": training, "search": search}))


def _have_unequal_sizes(study: Study) -> bool:
    """Return whether a trained class has more than twice the images of another to learn from."""
    dataset, protocol, shots = study.dataset(), study.protocol(), study.config.data.shots
    if not protocol.trains or not dataset.train:
        return False
    sizes = Counter(record.label for record in dataset.train)
    trained = next(iter(protocol.scored(dataset).values()))
    counts = [sizes[label] for label in trained]
    if shots != ALL:
        counts = [min(count, shots) for count in counts]
    return max(counts) > UNEQUAL * min(counts)


def with_sites_of_backbone(config: StudyConfig) -> StudyConfig:
    """Replace the default list of sites by that of the backbone's family.

    The configuration is returned unchanged if it has another list. A backbone that cannot be read,
    which the check of the study reports, counts as a CLIP.
    """
    space = config.search.space
    if space.sites != SpaceConfig().sites or config.backbone.name == EMBEDDED:
        return config
    family = _read_family(config)
    space = space.model_copy(update={"sites": SITES_OF[family or "clip"]})
    search = config.search.model_copy(update={"space": space})
    return config.model_copy(update={"search": search})


def load_study(folder: StudyFolder, overrides: list[str]) -> Study:
    """Return the study of a folder, with settings that it may change.

    Raises:
        StudyError: its configuration cannot be read, or an override is not allowed.
    """
    with naming_overrides(overrides), _with_remaining_faults(overrides, resuming=True):
        return Study(load_resumed_config(folder, overrides), folder)


def _unfit_peers(config: StudyConfig, source: Path | None, overrides: list[str]) -> list[str]:
    """Return the peers of a shipped configuration that cannot be trained on its backbone.

    The list is empty if the backbone cannot be read, which the check of the study reports.

    Args:
        config: the configuration.
        source: its file; None for the configuration of a study that exists.
        overrides: the overrides; a peer that one of them asks for is not returned.
    """
    if not source or not is_shipped(source):
        return []
    family = _read_family(config)
    if family is None:
        return []
    keys = list(parse_overrides(overrides))
    labels = []
    for label, method in config.search.peer_methods.items():
        baseline = f"search.baselines.{label}"
        above = ("search", "search.baselines", baseline)
        asked_for = any(key in above or key.startswith(f"{baseline}.") for key in keys)
        if family not in PEERS[method].families and not asked_for:
            labels.append(label)
    return labels


def _read_family(config: StudyConfig) -> Family | None:
    """Return the family of the backbone; None if it is unknown, or the backbone cannot be read."""
    backbone = config.backbone
    try:
        return read_family(backbone_path(backbone.name), revision=backbone.revision)
    except BackboneError:
        return None


def _without_baselines(config: StudyConfig, labels: Sequence[str]) -> StudyConfig:
    """Return a configuration without some of its baselines."""
    baselines = dict(config.search.baselines)
    for label in labels:
        del baselines[label]
    search = config.search.model_copy(update={"baselines": baselines})
    return config.model_copy(update={"search": search})


@contextmanager
def naming_overrides(overrides: Sequence[str]) -> Iterator[None]:
    """Add to the faults of a study the overrides that they come from."""
    try:
        yield
    except StudyFaults as error:
        texts = override_texts(overrides)
        raise StudyFaults(faults_with_overrides(texts, error.faults)) from None


@contextmanager
def _with_remaining_faults(
    overrides: list[str], *, resuming: bool, source: Path | None = None
) -> Iterator[None]:
    """Add to the faults of a configuration those that a check finds in its other sections."""
    try:
        yield
    except ConfigFaults as error:
        if error.valid_config:
            unfit = _unfit_peers(error.valid_config, source, overrides)
            error.valid_config = _without_baselines(error.valid_config, unfit)
        raise _add_remaining(error, overrides, resuming=resuming) from None


def _add_remaining(error: ConfigFaults, overrides: list[str], *, resuming: bool) -> ConfigFaults:
    """Return the faults of an error, with those that a check of the valid sections finds."""
    config = error.valid_config
    if not config:
        return error
    skipped = {fault.partition(":")[0].partition(".")[0] for fault in error.faults}
    # A default that replaces a value of the wrong kind says nothing about its section. If only
    # baselines that are needed are missing, the rest of the search can be checked.
    if "search" not in {path.partition(".")[0] for path in error.replaced}:
        skipped.discard("search")
    study = Study(config, StudyFolder(config.storage / (config.name or secrets.token_hex(8))))
    faults = find_faults(study, resuming=resuming, skipped=skipped, replaced=error.replaced)
    faults = faults_with_overrides(override_texts(overrides), faults)
    source = error.source
    if faults and source == OVERRIDES:
        source = "the study"
    return ConfigFaults(source, error.faults + faults, config, error.replaced)
