"""Checks of everything a study needs, before anything starts; all faults are reported together."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from study import tracking
from study.config.schema import StudyConfig
from study.data.datasets import PACKAGED, refuse_unread_folder
from study.data.prompts import prompts
from study.data.records import Dataset, listed
from study.data.tasks import confirm_task, refuse_one_class, search_tasks
from study.embedded import EMBEDDED, backbone_path
from study.errors import ConfigError, DataError, StudyError
from study.method.checkpoint import Architecture, read_architecture
from study.method.model import load_backbone
from study.method.subsets import parse
from study.search.ablation_cells import ablation_cells
from study.storage.ledger import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.prepare import (
    find_shots,
    fold_count,
    selection_rule,
    source_dataset,
    target_dataset,
)

ReadPrompts = Callable[[Sequence[str]], object]
"""A function that reads prompts; it raises if the checkpoint cannot read them."""


def check_study(
    config: StudyConfig, folder: StudyFolder, *, resuming: bool, tracker: Tracker | None = None
) -> Architecture:
    """Check data, checkpoint, subsets, storage, name and tracking server, but read no pixels.

    Args:
        config: see `all_faults`.
        folder: see `all_faults`.
        resuming: see `all_faults`.
        tracker: see `all_faults`.

    Returns:
        The architecture of the checkpoint.

    Raises:
        ConfigError: the study cannot start; the message lists every fault with its place in the
            configuration.
    """
    faults, architecture = all_faults(config, folder, resuming=resuming, tracker=tracker)
    if faults or architecture is None:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"the study cannot start, {count}:\n{lines}")
    return architecture


def all_faults(
    config: StudyConfig,
    folder: StudyFolder,
    *,
    resuming: bool,
    passing_over: Collection[str] = (),
    tracker: Tracker | None = None,
) -> tuple[list[str], Architecture | None]:
    """Return all faults, each with its place, and the architecture; None if it cannot be read.

    Args:
        config: the configuration to check.
        folder: the study's folder.
        resuming: whether the study may already exist.
        passing_over: sections to leave out, such as those that are known to be at fault.
        tracker: the tracker that was handed over, if one was.
    """
    faults: list[str] = []
    datasets: list[Dataset] = []
    backbones: list[tuple[Architecture, ReadPrompts]] = []

    def attempt(place: str, check: Callable[[], object]) -> None:
        if place.partition(".")[0] in passing_over:
            return
        try:
            check()
        except StudyError as error:
            if (fault := f"{place}: {error}") not in faults:  # each seed may have the same fault
                faults.append(fault)

    if not resuming:  # a study of an earlier version may have been frozen with such a folder
        attempt("data.root", lambda: _check_root(config))
        attempt("data.targets_root", lambda: _check_targets_root(config))
    attempt("data", lambda: datasets.append(_check_data(config)))
    for target in config.data.targets:
        attempt("data.targets", lambda: datasets.append(_check_target(config, target)))  # noqa: B023
    for dataset in [d for d in datasets if d.name == config.data.dataset]:
        for seed in sorted({*([config.seed] if config.validates else []), *config.shot_seeds}):
            place = "data.shots_from" if config.data.shots_from else "data"
            attempt(place, lambda: _check_tasks(config, dataset, seed))  # noqa: B023
    attempt("backbone", lambda: backbones.append(_check_backbone(config)))
    for architecture, read_prompts in backbones:
        depths = architecture.depths
        subsets = {
            f"search.baselines.{label}.subset": baseline.subset
            for label, baseline in config.search.baselines.items()
        } | {f"search.space.sites.{n}": site for n, site in enumerate(config.search.space.sites)}
        for place, subset in subsets.items():
            attempt(place, lambda: parse(subset).resolve(depths))  # noqa: B023
        for dataset in datasets:
            attempt("data.templates", lambda: _check_prompts(dataset, read_prompts))  # noqa: B023
    if config.ablation is not None and backbones:
        depths = backbones[0][0].depths
        attempt("ablation", lambda: ablation_cells(config, folder, depths))
    if config.search.warm_start is not None:
        attempt("search.warm_start", lambda: _check_warm_start(config, config.storage))
    attempt("storage", lambda: _check_storage(folder.path if resuming else config.storage))
    if not resuming:
        attempt("name", folder.refuse_existing)
    attempt("tracking", lambda: tracking.named(config.tracking.tracker, tracker).check(config))
    return faults, backbones[0][0] if backbones else None


def caution(configs: Iterable[StudyConfig], console: Console) -> None:
    """Print a warning if studies use the embedded backbone on datasets that it is not made for."""
    foreign = dict.fromkeys(
        name
        for config in configs
        if config.backbone.name == EMBEDDED
        for name in (config.data.dataset, *config.data.targets)
        if name not in PACKAGED
    )
    if foreign:
        console.print(
            "the embedded backbone has seen printed characters and nothing else, so scores on "
            f"{listed(foreign)} mean little; photographs need a CLIP that has seen them, such as "
            "backbone.name=openai/clip-vit-base-patch32",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _check_backbone(config: StudyConfig) -> tuple[Architecture, ReadPrompts]:
    """Load the checkpoint: faulty weights or a faulty tokenizer would fail every trial."""
    path, revision = backbone_path(config.backbone.name), config.backbone.revision
    architecture = read_architecture(path, revision=revision)
    return architecture, load_backbone(path, revision=revision).tokenize


def _check_prompts(dataset: Dataset, read_prompts: ReadPrompts) -> None:
    per_class = prompts(dataset.class_names, dataset.templates)
    read_prompts([prompt for group in per_class for prompt in group])


def _check_data(config: StudyConfig) -> Dataset:
    dataset = source_dataset(config.data)
    refuse_one_class(dataset, config.protocol)
    return dataset


def _check_root(config: StudyConfig) -> None:
    data = config.data
    refuse_unread_folder(data.root, [data.dataset], option="data.dataset=NAME")


def _check_targets_root(config: StudyConfig) -> None:
    data = config.data
    refuse_unread_folder(data.targets_root, data.targets, option="data.targets=[NAME]")


def _check_target(config: StudyConfig, name: str) -> Dataset:
    target = target_dataset(config.data, name)
    if not target.test:
        raise DataError(f"{name}: has no test images")
    refuse_one_class(target, "zero_shot")
    return target


def _check_tasks(config: StudyConfig, dataset: Dataset, seed: int) -> None:
    """Make the tasks of a seed's trials, which raises if they cannot be made."""
    if config.protocol == "zero_shot":
        confirm_task(dataset, None, protocol=config.protocol)
        return
    shots = find_shots(config, dataset, seed)
    if config.validates and seed == config.seed:
        rule = selection_rule(config, dataset)
        search_tasks(
            dataset,
            shots,
            protocol=config.protocol,
            selection=rule,
            folds=fold_count(config, rule),
        )
    if seed in config.shot_seeds:
        confirm_task(dataset, shots, protocol=config.protocol)


def _check_warm_start(config: StudyConfig, storage: Path) -> None:
    journal = storage / str(config.search.warm_start) / "optuna.journal"
    if not journal.exists():
        there = sorted(path.parent.name for path in storage.glob("*/optuna.journal"))
        raise ConfigError(
            f"no study '{config.search.warm_start}' with a search in {storage}; "
            f"there are {', '.join(there) or 'none'}"
        )


def _check_storage(storage: Path) -> None:
    if storage.parts and storage.parts[0].endswith(":"):
        raise StudyError(
            f"{storage} is no folder: a study locks its files and appends to them; allowed is a "
            "folder that every machine sees, and an object store for MLflow's artifacts alone"
        )
    existing = next(path for path in (storage, *storage.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise StudyError(f"{storage} cannot be written: {existing} is no folder with write access")
