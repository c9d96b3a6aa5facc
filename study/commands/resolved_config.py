"""A configuration as a study has it: the values of its file, and what the backbone decides."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from study.backbones.architecture import Family
from study.backbones.description import EMBEDDED, backbone_path, read_family
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.search_section import SITES_OF, SpaceConfig
from study.config.shipped import is_shipped
from study.config.yaml_values import parse_overrides
from study.errors import BackboneError
from study.method.peers import PEERS
from study.process.terminal_table import print_sentences


def resolve_config(
    source: Path, overrides: list[str], console: Console | None = None
) -> StudyConfig:
    """Return the configuration of a file and overrides, with what the backbone decides.

    A peer of a shipped configuration that cannot be trained on the backbone is left out, unless an
    override asks for it.

    Args:
        source: the file of the configuration.
        overrides: values that replace those of the file.
        console: where a line on each peer that is left out is printed.

    Raises:
        ConfigFaults: the configuration has faults.
    """
    config = with_sites_of_backbone(load_config(source, overrides))
    unfit = unfit_peers(config, source, overrides)
    if console is not None:
        for label in unfit:
            sentence = (
                f"search.baselines.{label} of {source.name} is left out, since "
                f"{config.backbone.name} cannot be trained in this way"
            )
            print_sentences(console, sentence, "yellow")
    return without_baselines(config, unfit)


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


def without_baselines(config: StudyConfig, labels: Sequence[str]) -> StudyConfig:
    """Return a configuration without some of its baselines."""
    baselines = {
        label: baseline
        for label, baseline in config.search.baselines.items()
        if label not in labels
    }
    return config.with_section("search", baselines=baselines)
