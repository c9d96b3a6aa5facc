"""Checks of everything that a study needs before it starts; all faults are reported together."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from study import tracking
from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.methods import METHODS, Lora
from study.data.datasets import refuse_unread_folder
from study.data.file_checks import refuse_absent, refuse_shared_images
from study.data.prompts import prompts, refuse_unreadable_names
from study.data.readers.benchmarks import BENCHMARKS
from study.data.records import DataFaults, Dataset
from study.data.tasks import all_classes, refuse_one_class
from study.errors import DataError, Fault, FaultsError, StudyError
from study.method.device import list_gpus
from study.method.lora import import_peft
from study.method.subsets import parse
from study.search.ablation_cells import ablation_cells
from study.search.cluster import (
    ADDRESS,
    count_cores,
    refuse_insufficient,
    refuse_unreachable_cluster,
)
from study.search.samplers import sampler_named
from study.storage.atomic import StorageError
from study.storage.new_folders import refuse_unwritable, runs_in_copy
from study.trial.config_hash import code_hash
from study.trial.prepare import find_shots, tasks_of_search
from study.trial.study import Study

T = TypeVar("T")


class Faults(list[Fault]):
    """The faults of several checks, each of which ends at its first."""

    def attempt(
        self, key: str, check: Callable[..., T], *arguments: object, **options: object
    ) -> T | None:
        """Return the result of a check of the value of a key, or collect its fault."""
        try:
            return check(*arguments, **options)
        except DataFaults as error:
            messages = error.faults
        except StudyError as error:
            messages = (str(error),)
        except PermissionError as error:  # even of asking whether a file exists
            if error.filename is None:
                raise
            messages = (f"{error.filename} cannot be read or written: {error.strerror}",)
        found = [Fault(key, message) for message in messages]
        self += [fault for fault in found if fault not in self]  # several seeds may have the same
        return None


def check_study(study: Study, *, resuming: bool) -> None:
    """Check data, checkpoint, subsets, storage, name and tracking server, but read no pixels.

    Args:
        study: the study to check.
        resuming: whether the study may already exist.

    Raises:
        FaultsError: the study cannot start; the message lists every fault with its key.
    """
    faults = find_study_faults(study, resuming=resuming) + find_tracker_faults(study)
    if faults:
        raise FaultsError("the study cannot start,", faults)


def find_study_faults(study: Study, *, resuming: bool) -> list[Fault]:
    """Return the faults of all but the tracker; see `check_study`."""
    faults = Faults()
    datasets = _check_datasets(study, faults)
    _check_models(study, datasets, faults)
    _check_places(study, faults, resuming=resuming)
    return faults


def find_data_faults(study: Study) -> list[Fault]:
    """Return the faults of the protocol, the datasets, and the tasks of all seeds."""
    faults = Faults()
    _check_datasets(study, faults)
    return faults


def find_tracker_faults(study: Study) -> list[Fault]:
    """Return the faults of the tracker and its server."""
    faults = Faults()
    name = study.config.tracking.tracker
    tracker = faults.attempt("tracking.tracker", tracking.make_tracker, name)
    if tracker:
        faults.attempt("tracking", tracker.check, study.config)
    return faults


def _check_datasets(study: Study, faults: Faults) -> list[Dataset]:
    """Check the protocol, the datasets and their tasks; return the datasets without a fault."""
    protocol = faults.attempt("protocol", lambda: study.protocol)
    if not protocol:
        return []
    config, data = study.config, study.config.data
    faults += protocol.find_config_faults(config)
    can_select = all(fault.key != "search.selection" for fault in faults)
    faults.attempt("protocol", code_hash, type(protocol))
    refuse = refuse_unread_folder
    faults.attempt("data.root", refuse, data.root, [data.dataset], option="data.dataset=NAME")
    option = "data.targets=[NAME]"
    faults.attempt("data.targets_root", refuse, data.targets_root, data.targets, option=option)
    source = faults.attempt("data", _check_dataset, study)
    targets = [faults.attempt("data.targets", _check_dataset, study, name) for name in data.targets]
    datasets = [dataset for dataset in (source, *targets) if dataset]
    if targets and len(datasets) == 1 + len(targets):
        faults.attempt("data.targets", refuse_shared_images, datasets[0], datasets[1:])
    if source:
        _check_seeds(study, faults, searched=can_select and protocol.validates(config))
    return datasets


def _check_dataset(study: Study, target: str | None = None) -> Dataset:
    """Return the dataset of a study, or one of its targets, if a study can use it."""
    dataset = study.dataset if target is None else study.target(target)
    if not dataset.test:
        raise DataError(
            f"{dataset.name}: has no test images, and a study tests its best configuration on "
            "images that were not used before; expected images in a split 'test' (or 'val'), or "
            "no splits at all: then a fixed rule makes them"
        )
    refuse_absent(dataset, study.config.data.on_corrupt)
    answers = study.protocol.answers if target is None else all_classes
    refuse_one_class(dataset, answers(dataset))
    return dataset


def _check_seeds(study: Study, faults: Faults, *, searched: bool) -> None:
    """Check that the tasks of all seeds can be made, and those of validation if it is used."""
    config, protocol = study.config, study.protocol
    key, folder = "data", config.data.shots_from
    if folder:
        key = "data.shots_from"
        if not folder.is_dir():
            message = f"{folder} is not a folder; expected one with published few-shot splits"
            faults.append(Fault(key, message))
            return
    tested = set(protocol.shot_seeds(config))

    def make_tasks(seed: int) -> None:
        shots = find_shots(study, seed) if protocol.trains else None
        if shots and searched and seed == config.seed:
            tasks_of_search(study, shots)
        if seed in tested:
            protocol.task_of_test(study.dataset, shots)

    for seed in sorted(tested | {config.seed} if searched else tested):
        faults.attempt(key, make_tasks, seed)
    search = config.search
    if not searched or search.folds is None:
        return
    rule = faults.attempt("search.folds", protocol.rule, config, study.dataset)
    if rule and rule.folds == 1:
        message = (
            f"{search.folds} has no effect, since search.selection={search.selection} has no "
            "folds; expected null"
        )
        faults.append(Fault("search.folds", message))


def _check_models(study: Study, datasets: Sequence[Dataset], faults: Faults) -> None:
    """Check the sampler, the checkpoint, and everything that depends on it."""
    config, search = study.config, study.config.search
    faults.attempt("search.sampler", sampler_named, search.sampler)
    for label, method in search.other_methods.items():
        if isinstance(method, Lora):
            faults.attempt(f"search.baselines.{label}", import_peft)
    backbone = faults.attempt("backbone", _check_backbone, study)
    if not backbone:
        return
    depths, family = study.architecture.depths, study.architecture.family
    for label, baseline in search.fixed_baselines.items():
        key = f"search.baselines.{label}.subset"
        faults.attempt(key, parse(baseline.subset).resolve, depths)
    for number, site in enumerate(search.space.sites):
        faults.attempt(f"search.space.sites.{number}", parse(site).resolve, depths)
    for label, method in search.other_methods.items():
        if family not in method.families:
            allowed = [name for name, other in METHODS.items() if family in other.families]
            message = (
                f"'{method.method}' needs a backbone of the family "
                f"{' or '.join(method.families)}, and {config.backbone.name} is a {family}; "
                f"expected {' or '.join(allowed)}, or none: search.baselines.{label}=null"
            )
            faults.append(Fault(f"search.baselines.{label}", message))
    for dataset in datasets:
        names, tokenizer = dataset.class_names, backbone.tokenizer
        texts = chain.from_iterable(prompts(names, dataset.templates))
        faults.attempt("data.templates", backbone.tokenize, list(texts))
        key = "data" if dataset.name == config.data.dataset else "data.targets"
        repeated = dataset.name in BENCHMARKS  # published lists may repeat a name
        refuse = refuse_unreadable_names
        faults.attempt(key, refuse, dataset.name, names, tokenizer, repeated=repeated)
    if config.ablation:
        faults.attempt("ablation", ablation_cells, study)


def _check_backbone(study: Study) -> Backbone:
    """Load the checkpoint, since faulty weights or a faulty tokenizer would fail every trial."""
    _ = study.architecture
    backbone = study.config.backbone
    return load_backbone(backbone_path(backbone.name), revision=backbone.revision)


def _check_places(study: Study, faults: Faults, *, resuming: bool) -> None:
    """Check the resources, the cluster, the storage and the name of a study."""
    resources = study.config.resources
    cpus, gpus = resources.cpus_per_trial, resources.gpus_per_trial
    refuse = refuse_insufficient
    faults.attempt("resources.cpus_per_trial", refuse, cpus, count_cores(), "CPU cores")
    if gpus:
        faults.attempt("resources.gpus_per_trial", refuse, gpus, len(list_gpus()), "GPUs")
    faults.attempt(ADDRESS, refuse_unreachable_cluster)
    if resuming:
        faults.attempt("storage", _check_storage, study.folder.path)
    else:
        faults.attempt("storage", _check_storage, study.config.storage)
        faults.attempt("name", study.folder.refuse_existing)


def _check_storage(storage: Path) -> None:
    if storage.parts and storage.parts[0].endswith(":"):
        raise StudyError(
            f"{storage} is not a folder; expected a folder that all machines share (only a "
            "tracker's artifacts may be in an object store)"
        )
    if runs_in_copy() and not storage.is_absolute():
        raise StorageError(
            f"{storage} would be in this job's copy of your folder, which Ray deletes; "
            "expected an absolute path to a folder that all machines share"
        )
    refuse_unwritable(storage)
