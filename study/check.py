"""Everything a study needs, looked at before anything starts; all faults are told together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from study.backbones import backbone_path
from study.config import StudyConfig
from study.data.datasets import load_dataset
from study.data.fewshot import draw_shots, search_tasks
from study.errors import ConfigError, StudyError
from study.ledger import StudyFolder
from study.method.architecture import Architecture, read_architecture
from study.method.subsets import parse
from study.prepare import selection_rule


def check_study(config: StudyConfig, folder: StudyFolder, *, resuming: bool) -> Architecture:
    """Look at data, checkpoint, subsets, storage, name and tracking server; read no pixel.

    Raises:
        ConfigError: every fault, each with its place in the configuration.
    """
    faults: list[str] = []
    architecture: list[Architecture] = []

    def attempt(place: str, look: Callable[[], object]) -> None:
        try:
            look()
        except StudyError as error:
            faults.append(f"  {place}: {error}")

    def look_at_backbone() -> None:
        name, revision = config.backbone.name, config.backbone.revision
        architecture.append(read_architecture(backbone_path(name), revision=revision))

    attempt("data", lambda: _look_at_data(config))
    attempt("backbone", look_at_backbone)
    if architecture:
        depths = architecture[0].depths
        subsets = {
            f"search.baselines.{label}.subset": baseline.subset
            for label, baseline in config.search.baselines.items()
        } | {f"search.space.sites.{n}": site for n, site in enumerate(config.search.space.sites)}
        for place, subset in subsets.items():
            attempt(place, lambda: parse(subset).resolve(depths))  # noqa: B023
    attempt("storage", lambda: _look_at_storage(config.storage))
    if not resuming:
        attempt("name", folder.refuse_existing)
    attempt("tracking", lambda: _look_at_tracking(config))
    if faults:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        raise ConfigError(f"the study cannot start, {count}:\n" + "\n".join(faults))
    return architecture[0]


def _look_at_data(config: StudyConfig) -> None:
    data = config.data
    dataset = load_dataset(data.dataset, data.root, templates=data.templates)
    for seed in {config.seed, *config.confirm.seeds}:
        shots = draw_shots(dataset, shots=data.shots, val_shots=data.val_shots, seed=seed)
        if seed == config.seed:
            search_tasks(
                dataset,
                shots,
                protocol=config.protocol,
                selection=selection_rule(config, dataset),
                folds=config.search.folds,
            )


def _look_at_storage(storage: Path) -> None:
    existing = next(path for path in (storage, *storage.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise StudyError(f"{storage} cannot be written: {existing} is no folder with write access")


def _look_at_tracking(config: StudyConfig) -> None:
    from study.tracking.server import connect, tracking_uri  # MLflow takes seconds to import

    connect(tracking_uri(config.tracking.uri))
