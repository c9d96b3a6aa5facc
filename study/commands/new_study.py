"""A new study: the values of its file, and what its backbone and its images decide."""

import re
import secrets
import time
from collections import Counter
from pathlib import Path

from study.backbones.architecture import Family
from study.backbones.description import EMBEDDED, backbone_path, read_family
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.search_section import AUTO, SITES_OF, SpaceConfig
from study.config.shipped import is_shipped
from study.config.yaml_values import parse_overrides
from study.data.shots import ALL
from study.errors import BackboneError, StudyError
from study.method.peers import PEERS
from study.method.recipe import are_unequal
from study.storage.study_folder import StudyFolder
from study.trial.study import Study


def make_study(source: Path, overrides: list[str]) -> tuple[Study, list[str]]:
    """Return a new study, and warnings; it gets a unique name if the configuration has none.

    Args:
        source: the file of the configuration.
        overrides: values that replace those of the file.

    Raises:
        FaultsError: the configuration has faults.
    """
    config, warnings = resolve_config(source, overrides)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    config = config.model_copy(update={"name": config.name or unique})
    study = Study(config, StudyFolder(config.storage / str(config.name)))
    return with_metric(study), warnings


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


def resolve_config(source: Path, overrides: list[str]) -> tuple[StudyConfig, list[str]]:
    """Return the configuration of a file and overrides, with what the backbone decides.

    A peer of a shipped configuration that cannot be trained on the backbone is left out, unless an
    override requests it; a warning says so.

    Args:
        source: the file of the configuration.
        overrides: values that replace those of the file.

    Raises:
        FaultsError: the configuration has faults.
    """
    config = with_sites_of_backbone(load_config(source, overrides))
    unfit = unfit_peers(config, source, overrides)
    warnings = [
        f"search.baselines.{label} of {source.name} is left out, since {config.backbone.name} "
        "cannot be trained in this way"
        for label in unfit
    ]
    baselines = {
        label: baseline for label, baseline in config.search.baselines.items() if label not in unfit
    }
    return config.with_section("search", baselines=baselines), warnings


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
    return config.with_section("search", space=space)


def unfit_peers(config: StudyConfig, source: Path | None, overrides: list[str]) -> list[str]:
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
