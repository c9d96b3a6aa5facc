"""A new study: the values of its file, and what its backbone and its images decide."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from study.backbones.description import EMBEDDED, backbone_path, read_architecture
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.search_section import AUTO, SITES_OF, SpaceConfig
from study.data.shots import ALL
from study.errors import BackboneError, StudyError
from study.method.training_options import are_unequal
from study.storage.study_folder import StudyFolder
from study.trial.study import Study


def make_study(source: Path, overrides: Sequence[str]) -> Study:
    """Return a new study, which gets a unique name if the configuration has none.

    Args:
        source: the file of the configuration.
        overrides: values that replace those of the file.

    Raises:
        FaultsError: the configuration has faults.
    """
    config = load_config(source, overrides)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)[:60].strip("-._") or "study"
    unique = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return decided_study(config.model_copy(update={"name": config.name or unique}))


def decided_study(config: StudyConfig) -> Study:
    """Return the study of a named configuration, with the sites and the metric that are open.

    The metric is balanced if a trained class has more than twice the images of another to learn
    from. It stays open if the dataset cannot be read, which the check of the study reports.
    """
    config = with_sites_of_backbone(config)
    study = Study(config, StudyFolder(config.storage / str(config.name)))
    if config.search.metric != AUTO:
        return study
    metric = "accuracy"
    try:
        protocol, dataset, shots = study.protocol, study.dataset, config.data.shots
        if protocol.trains and dataset.train:
            sizes = Counter(record.label for record in dataset.train)
            most = len(dataset.train) if shots == ALL else shots
            trained = next(iter(protocol.scored(dataset).values()))
            if are_unequal(min(sizes[label], most) for label in trained):
                metric = "balanced_accuracy"
        if protocol.class_averaged:
            metric = "balanced_accuracy"
    except StudyError:
        return study
    return study.with_config(config.with_section("search", metric=metric))


def with_sites_of_backbone(config: StudyConfig) -> StudyConfig:
    """Replace the default list of sites by that of the backbone's family.

    The configuration is returned unchanged if it has another list. A backbone that cannot be read,
    which the check of the study reports, counts as a CLIP.
    """
    space, backbone = config.search.space, config.backbone
    if space.sites != SpaceConfig().sites or backbone.name == EMBEDDED:
        return config
    try:
        checkpoint = backbone_path(backbone.name)
        family = read_architecture(checkpoint, revision=backbone.revision).family
    except BackboneError:
        family = "clip"
    space = space.model_copy(update={"sites": SITES_OF[family]})
    return config.with_section("search", space=space)
