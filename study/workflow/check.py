"""Checks of everything a study needs, before anything starts; all faults are reported together."""

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rich.console import Console

from study import tracking
from study.config.schema import StudyConfig
from study.data.datasets import PACKAGED, refuse_unread_folder
from study.data.prompts import prompts
from study.data.records import Dataset, listed
from study.data.tasks import all_classes, refuse_one_class
from study.errors import ConfigError, DataError, StudyError
from study.method.checkpoint import EMBEDDED, backbone_path
from study.method.model import Backbone, load_backbone
from study.method.subsets import parse
from study.protocols import FewShot, disagreements
from study.search.ablation_cells import ablation_cells
from study.search.samplers import Sampler, sampler_named
from study.tracking.tracker import Tracker
from study.trial.config_hash import code_of_others
from study.trial.prepare import find_shots, tasks_of_search
from study.trial.study import Study


def check_study(
    study: Study,
    *,
    resuming: bool,
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> None:
    """Check data, checkpoint, subsets, storage, name and tracking server, but read no pixels.

    Args:
        study: the study to check.
        resuming: whether the study may already exist.
        sampler: see `study.workflow.run_study.run_study`.
        tracker: see `study.workflow.run_study.run_study`.

    Raises:
        ConfigError: the study cannot start; the message lists every fault with its place in the
            configuration.
    """
    found = all_faults(study, resuming=resuming, sampler=sampler, tracker=tracker)
    if faults := [*study.config.disagreements(), *found]:
        head = f"the study cannot start, {len(faults)} fault{'s' if len(faults) > 1 else ''}:"
        raise ConfigError("\n  ".join([head, *faults]))


def all_faults(
    study: Study,
    *,
    resuming: bool,
    passing_over: Collection[str] = (),
    replaced: Collection[str] = (),
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> list[str]:
    """Return all faults, each with its place.

    Args:
        study: the study to check.
        resuming: whether the study may already exist.
        passing_over: sections to leave out, such as those that are known to be at fault.
        replaced: places where a default stands in for a faulty value, which is not blamed.
        sampler: see `study.workflow.run_study.run_study`.
        tracker: see `study.workflow.run_study.run_study`.
    """
    faults: list[str] = []
    try:
        study.protocol()
    except ConfigError as error:
        faults.append(f"protocol: {error}")
        replaced = {*replaced, "protocol"}
        study = Study(study.config.model_copy(update={"protocol": FewShot.name}), study.folder)
    config, folder, protocol = study.config, study.folder, study.protocol()
    datasets: list[Dataset] = []
    backbones: list[Backbone] = []

    def attempt(place: str, check: Callable[[], object]) -> None:
        if place.partition(".")[0] in passing_over:
            return
        try:
            check()
        except StudyError as error:
            if (fault := f"{place}: {error}") not in faults:  # each seed may have the same fault
                faults.append(fault)

    faults += [
        fault
        for fault in disagreements(config, protocol)
        if not any(place in fault for place in replaced)
    ]
    judged = not any(fault.startswith("search.selection:") for fault in faults)
    attempt("protocol", lambda: code_of_others(type(protocol)))
    if not resuming:  # a study of an earlier version may have been frozen with such a folder
        data = config.data
        for place, root, names, option in (
            ("data.root", data.root, [data.dataset], "data.dataset=NAME"),
            ("data.targets_root", data.targets_root, data.targets, "data.targets=[NAME]"),
        ):
            attempt(place, lambda: refuse_unread_folder(root, names, option=option))  # noqa: B023
    attempt("data", lambda: datasets.append(_check_data(study)))
    for target in config.data.targets:
        attempt("data.targets", lambda: datasets.append(_check_target(study, target)))  # noqa: B023
    if any(dataset.name == config.data.dataset for dataset in datasets):
        searched = {config.seed} if protocol.validates(config) and judged else set()
        for seed in sorted({*searched, *protocol.shot_seeds(config)}):
            place = "data.shots_from" if config.data.shots_from else "data"
            attempt(place, lambda: _check_tasks(study, seed, seed in searched))  # noqa: B023
    attempt("backbone", lambda: backbones.append(_check_backbone(study)))
    for backbone in backbones:
        depths = study.architecture().depths
        subsets = {
            f"search.baselines.{label}.subset": baseline.subset
            for label, baseline in config.search.baselines.items()
        } | {f"search.space.sites.{n}": site for n, site in enumerate(config.search.space.sites)}
        for place, subset in subsets.items():
            attempt(place, lambda: parse(subset).resolve(depths))  # noqa: B023
        for dataset in datasets:
            attempt("data.templates", lambda: _check_prompts(dataset, backbone))  # noqa: B023
    if config.ablation is not None and backbones:
        attempt("ablation", lambda: ablation_cells(study))
    attempt("search.sampler", lambda: sampler_named(config.search.sampler, sampler))
    if config.search.warm_start is not None:
        attempt("search.warm_start", lambda: _check_warm_start(config, config.storage))
    attempt("storage", lambda: _check_storage(folder.path if resuming else config.storage))
    if not resuming:
        attempt("name", folder.refuse_existing)
    attempt("tracking", lambda: tracking.named(config.tracking.tracker, tracker).check(config))
    return faults


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


def _check_backbone(study: Study) -> Backbone:
    """Load the checkpoint: faulty weights or a faulty tokenizer would fail every trial."""
    study.architecture()
    backbone = study.config.backbone
    return load_backbone(backbone_path(backbone.name), revision=backbone.revision)


def _check_prompts(dataset: Dataset, backbone: Backbone) -> None:
    groups = prompts(dataset.class_names, dataset.templates)
    backbone.tokenize([prompt for group in groups for prompt in group])


def _check_data(study: Study) -> Dataset:
    refuse_one_class(study.dataset(), study.protocol().scored(study.dataset()))
    return study.dataset()


def _check_target(study: Study, name: str) -> Dataset:
    target = study.target(name)
    if not target.test:
        raise DataError(f"{name}: has no test images")
    refuse_one_class(target, all_classes(target))
    return target


def _check_tasks(study: Study, seed: int, searching: bool) -> None:
    """Make the tasks of a seed's trials, which raises if they cannot be made."""
    protocol = study.protocol()
    shots = find_shots(study, seed) if protocol.trains else None
    if shots is not None and searching:
        tasks_of_search(study, shots)
    if seed in protocol.shot_seeds(study.config):
        protocol.confirm_task(study.dataset(), shots)


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
