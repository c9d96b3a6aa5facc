"""Checks of everything that a study needs before it starts; all faults are reported together."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

from study import tracking
from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.rules import broken_rules
from study.data.datasets import refuse_unread_folder
from study.data.prompts import (
    prompts,
    refuse_control_characters,
    refuse_equal_prompts,
    refuse_equal_tokens,
    refuse_special_tokens,
)
from study.data.readers.benchmarks import BENCHMARKS
from study.data.records import DataFaults, Dataset
from study.data.survey import refuse_absent, refuse_shared_images
from study.data.tasks import all_classes, refuse_one_class
from study.errors import ConfigError, DataError, StudyError
from study.method.peers import PEERS
from study.method.subsets import parse
from study.process.terminal_table import amount
from study.protocols import FewShot, find_protocol_faults
from study.search.ablation_cells import ablation_cells
from study.search.machine import (
    refuse_silent_cluster,
    refuse_too_many_cpus,
    refuse_too_many_gpus,
    source_of_address,
)
from study.search.samplers import Sampler, sampler_named
from study.storage.atomic import StorageError
from study.storage.probe import refuse_unwritable, runs_in_copy
from study.tracking.tracker import Tracker
from study.trial.config_hash import code_of_others
from study.trial.prepare import (
    find_shots,
    tasks_of_search,
)
from study.trial.study import Study

T = TypeVar("T")


class StudyFaults(ConfigError):
    """All faults for which a study cannot start, each with its path."""

    def __init__(self, faults: Sequence[str]) -> None:
        lines = [f"the study cannot start, {amount(len(faults), 'fault')}:", *faults]
        super().__init__("\n  ".join(lines))
        self.faults = faults


@dataclass
class _Checks:
    """The checks of a study, which collect faults instead of ending at the first."""

    skipped: Collection[str]
    """The sections that are not checked."""
    faults: list[str] = field(default_factory=list)

    def attempt(
        self, path: str, check: Callable[..., T], *arguments: object, **options: object
    ) -> T | None:
        """Return the result of a check of the value at a path; None if it fails or is skipped."""
        if path.partition(".")[0] in self.skipped:
            return None
        try:
            return check(*arguments, **options)
        except DataFaults as error:
            self.faults += [f"{path}: {fault}" for fault in error.faults]
        except StudyError as error:
            self.faults.append(f"{path}: {error}")
        except PermissionError as error:  # even of asking whether a file exists
            if error.filename is None:
                raise
            self.faults.append(f"{path}: {error.filename} cannot be used: {error.strerror}")
        return None


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
        sampler: see `study.commands.run_study.run_study`.
        tracker: see `study.commands.run_study.run_study`.

    Raises:
        StudyFaults: the study cannot start; the message lists every fault with its path in the
            configuration.
    """
    # A configuration that contradicts itself, made in Python, is not tried on any server.
    faults = broken_rules(study.config)
    if not faults:
        faults = find_faults(study, resuming=resuming, sampler=sampler, tracker=tracker)
    if faults:
        raise StudyFaults(faults)


def find_faults(
    study: Study,
    *,
    resuming: bool,
    skipped: Collection[str] = (),
    replaced: Collection[str] = (),
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> list[str]:
    """Return all faults, each with its path.

    Args:
        study: the study to check.
        resuming: whether the study may already exist.
        skipped: sections to leave out, such as those that are known to be at fault.
        replaced: paths of defaults that replace faulty values, and are not blamed.
        sampler: see `study.commands.run_study.run_study`.
        tracker: see `study.commands.run_study.run_study`.
    """
    checks = _Checks(skipped)
    if not checks.attempt("protocol", lambda: study.protocol):
        replaced = {*replaced, "protocol"}
        study = Study(study.config.model_copy(update={"protocol": FewShot.name}), study.folder)
    config = study.config
    protocol = study.protocol
    for fault in find_protocol_faults(config, protocol):
        if not any(path in fault for path in replaced):
            checks.faults.append(fault)
    searched = protocol.validates(config) and not any(
        fault.startswith("search.selection:") for fault in checks.faults
    )
    checks.attempt("protocol", code_of_others, type(protocol))
    datasets = _find_data_faults(checks, study)
    _find_task_faults(checks, study, datasets, searched=searched)
    _find_backbone_faults(checks, study, datasets)
    checks.attempt("search.sampler", sampler_named, config.search.sampler, sampler)
    for label, method in config.search.peer_methods.items():
        checks.attempt(f"search.baselines.{label}", PEERS[method].require)
    _find_machine_faults(checks, study, resuming=resuming)
    made = checks.attempt(
        "tracking.tracker", tracking.make_tracker, config.tracking.tracker, tracker
    )
    if made:
        checks.attempt("tracking", made.check, config)
    return list(dict.fromkeys(checks.faults))  # several seeds may have the same fault


def _find_data_faults(checks: _Checks, study: Study) -> list[Dataset]:
    """Check the datasets, and return those without a fault."""
    data = study.config.data
    refuse = refuse_unread_folder
    checks.attempt("data.root", refuse, data.root, [data.dataset], option="data.dataset=NAME")
    option = "data.targets=[NAME]"
    checks.attempt("data.targets_root", refuse, data.targets_root, data.targets, option=option)
    read = [("data", checks.attempt("data", _check_data, study))]
    for name in data.targets:
        read.append(("data.targets", checks.attempt("data.targets", _check_target, study, name)))
    datasets = [dataset for _, dataset in read if dataset]
    if data.targets and len(datasets) == len(read):
        checks.attempt("data.targets", refuse_shared_images, datasets[0], datasets[1:])
    for path, dataset in read:
        if dataset:
            if dataset.name not in BENCHMARKS:  # published lists may repeat a name
                checks.attempt(path, refuse_equal_prompts, dataset.name, dataset.class_names)
            checks.attempt(path, refuse_control_characters, dataset.name, dataset.class_names)
    return datasets


def _find_task_faults(
    checks: _Checks, study: Study, datasets: Sequence[Dataset], *, searched: bool
) -> None:
    """Check that the tasks of all seeds can be made, unless the dataset itself has a fault.

    Args:
        checks: collect the faults.
        study: the study.
        datasets: the datasets without a fault.
        searched: whether trials are validated, with the seed of the study.
    """
    config = study.config
    published = checks.attempt("data.shots_from", _check_published, config.data.shots_from)
    if not published or config.data.dataset not in [dataset.name for dataset in datasets]:
        return
    path = "data"
    if config.data.shots_from:
        path = "data.shots_from"
    seeds = set(study.protocol.shot_seeds(config))
    if searched:
        seeds.add(config.seed)
    for seed in sorted(seeds):
        checks.attempt(path, _check_tasks, study, seed, searched and seed == config.seed)
    if searched and config.search.folds is not None:
        checks.attempt("search.folds", _check_folds, study)


def _find_backbone_faults(checks: _Checks, study: Study, datasets: Sequence[Dataset]) -> None:
    """Check the checkpoint, and everything that depends on it."""
    search = study.config.search
    backbone = checks.attempt("backbone", _check_backbone, study)
    if not backbone:
        return
    for label, baseline in search.fixed_baselines.items():
        path = f"search.baselines.{label}.subset"
        checks.attempt(path, _check_subset, study, baseline.subset)
    for number, site in enumerate(search.space.sites):
        checks.attempt(f"search.space.sites.{number}", _check_subset, study, site)
    for label, method in search.peer_methods.items():
        checks.attempt(f"search.baselines.{label}", _check_family, study, label, method)
    for path, check in (("data.templates", _check_prompts), ("data", _check_tokens)):
        for dataset in datasets:
            checks.attempt(path, check, dataset, backbone)
    # The cells of an ablation are made of the sites of the search.
    if study.config.ablation and "search" not in checks.skipped:
        checks.attempt("ablation", ablation_cells, study)


def _find_machine_faults(checks: _Checks, study: Study, *, resuming: bool) -> None:
    """Check the resources, the cluster, the storage and the name of a study."""
    config = study.config
    checks.attempt("resources.cpus_per_trial", refuse_too_many_cpus, config.resources)
    checks.attempt("resources.gpus_per_trial", refuse_too_many_gpus, config.resources)
    checks.attempt(source_of_address(), refuse_silent_cluster)
    if resuming:
        checks.attempt("storage", _check_storage, study.folder.path)
    else:
        checks.attempt("storage", _check_storage, config.storage)
        checks.attempt("name", study.folder.refuse_existing)


def _check_backbone(study: Study) -> Backbone:
    """Load the checkpoint, since faulty weights or a faulty tokenizer would fail every trial."""
    _ = study.architecture
    backbone = study.config.backbone
    return load_backbone(backbone_path(backbone.name), revision=backbone.revision)


def _check_prompts(dataset: Dataset, backbone: Backbone) -> None:
    texts = chain.from_iterable(prompts(dataset.class_names, dataset.templates))
    backbone.tokenize(list(texts))


def _check_tokens(dataset: Dataset, backbone: Backbone) -> None:
    """Refuse class names that the backbone's tokenizer does not read as texts of their own."""
    refuse_special_tokens(dataset.name, dataset.class_names, backbone.tokenizer)
    refuse_equal_tokens(dataset.name, dataset.class_names, backbone.tokenizer)


def _check_subset(study: Study, text: str) -> None:
    parse(text).resolve(study.architecture.depths)


def _check_family(study: Study, label: str, method: str) -> None:
    """Refuse a peer that trains parameters which the family of the backbone does not have."""
    family = study.architecture.family
    families = PEERS[method].families
    if family in families:
        return
    allowed = [name for name, row in PEERS.items() if family in row.families]
    raise ConfigError(
        f"'{method}' needs a backbone of the family {' or '.join(families)}, and "
        f"{study.config.backbone.name} is a {family}; allowed are {' and '.join(allowed)}, or "
        f"none: search.baselines.{label}=null"
    )


def _check_data(study: Study) -> Dataset:
    if not study.dataset.test:
        raise DataError(
            f"{study.config.data.dataset}: has no test images, and a study tests its choice on "
            "images that it never saw; allowed are images of a split 'test' (or 'val'), or no "
            "splits at all, so that a fixed rule makes them"
        )
    refuse_absent(study.dataset, study.config.data.on_corrupt)
    refuse_one_class(study.dataset, study.protocol.answers(study.dataset))
    return study.dataset


def _check_target(study: Study, name: str) -> Dataset:
    target = study.target(name)
    if not target.test:
        raise DataError(f"{name}: has no test images")
    refuse_absent(target, study.config.data.on_corrupt)
    refuse_one_class(target, all_classes(target))
    return target


def _check_published(folder: Path | None) -> bool:
    """Return true; raise if a folder of published splits is given, and is none."""
    if folder and not folder.is_dir():
        raise DataError(f"{folder} is no folder; allowed is one with published few-shot splits")
    return True


def _check_tasks(study: Study, seed: int, searching: bool) -> None:
    """Make the tasks of a seed's trials; raise if they cannot be made."""
    protocol = study.protocol
    shots = find_shots(study, seed) if protocol.trains else None
    if shots and searching:
        tasks_of_search(study, shots)
    if seed in protocol.shot_seeds(study.config):
        protocol.task_of_test(study.dataset, shots)


def _check_folds(study: Study) -> None:
    """Refuse a number of folds beside a rule of selection that has none."""
    search = study.config.search
    rule = study.protocol.rule(study.config, study.dataset)
    if rule.folds == 1:
        raise ConfigError(
            f"{search.folds} has no effect with the rule '{rule.name}', which has no folds and "
            f"follows from search.selection={search.selection}; allowed is null"
        )


def _check_storage(storage: Path) -> None:
    if storage.parts and storage.parts[0].endswith(":"):
        raise StudyError(
            f"{storage} is no folder: a study locks its files and appends to them; allowed is a "
            "folder that every machine sees, and an object store for artifacts of a tracker alone"
        )
    if runs_in_copy() and not storage.is_absolute():
        raise StorageError(
            f"{storage} would be in the copy of your folder that this job runs in, and which Ray "
            "deletes; allowed is an absolute path to a folder that all machines share"
        )
    refuse_unwritable(storage)
