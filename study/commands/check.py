"""Checks of everything that a study needs before it starts; all faults are reported together."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from study import tracking
from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.commands.announcement import study_facts
from study.commands.check_result import CheckResult, Fact
from study.commands.concurrency import count_cores
from study.commands.image_check import decode_images
from study.commands.start_warnings import find_warnings
from study.config.rules import broken_rules
from study.data.datasets import refuse_unread_folder
from study.data.prompts import prompts, refuse_unreadable_names
from study.data.readers.benchmarks import BENCHMARKS
from study.data.records import DataFaults, Dataset
from study.data.survey import refuse_absent, refuse_shared_images
from study.data.tasks import all_classes, refuse_one_class
from study.errors import ConfigError, DataError, Fault, FaultsError, StudyError
from study.method.device import list_gpus
from study.method.peers import PEERS
from study.method.subsets import parse
from study.search.ablation_cells import ablation_cells
from study.search.machine import ADDRESS, refuse_silent_cluster, refuse_too_many
from study.search.samplers import Sampler, sampler_named
from study.storage.atomic import StorageError
from study.storage.probe import refuse_unwritable, runs_in_copy
from study.tracking.tracker import Tracker
from study.trial.config_hash import code_hash
from study.trial.prepare import (
    find_shots,
    tasks_of_search,
)
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
            self += [Fault(key, fault) for fault in error.faults]
        except StudyError as error:
            self.append(Fault(key, str(error)))
        except PermissionError as error:  # even of asking whether a file exists
            if error.filename is None:
                raise
            self.append(Fault(key, f"{error.filename} cannot be used: {error.strerror}"))
        return None


def check_everything(
    study: Study,
    *,
    resuming: bool,
    images: bool,
    estimate: bool,
    warnings: Sequence[str] = (),
) -> CheckResult:
    """Check everything that a study needs, and return what it would work on; start nothing.

    Args:
        study: the study to check.
        resuming: whether the study may already exist.
        images: whether all images are decoded, and not only a sample.
        estimate: whether to measure what the study would take.
        warnings: those that are known already.

    Raises:
        FaultsError: the study cannot start.
    """
    check_study(study, resuming=resuming)
    decoded = decode_images(study, every=images)
    found = [*warnings, *decoded.warnings, *find_warnings([study], decoded.pixels)]
    facts = [*study_facts(study), Fact("decoded", decoded.described)]
    measured = None
    if estimate and not decoded.faults:
        # Ray and Optuna take seconds to import, and a check does without them.
        from study.commands.estimate import measure_and_estimate

        measured = measure_and_estimate(study, decoding=decoded.seconds)
    return CheckResult(decoded.faults, found, facts, measured)


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
        FaultsError: the study cannot start; the message lists every fault with its key.
    """
    faults = find_faults(study, resuming=resuming, sampler=sampler, tracker=tracker)
    if faults:
        raise FaultsError("the study cannot start,", faults)


def find_faults(
    study: Study,
    *,
    resuming: bool,
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> list[Fault]:
    """Return all faults for which a study cannot start; see `check_study`."""
    # A configuration that contradicts itself, made in Python, is not tried on any server.
    broken = broken_rules(study.config)
    if broken:
        return broken
    faults = find_study_faults(study, resuming=resuming, sampler=sampler)
    return faults + find_tracker_faults(study, tracker)


def find_study_faults(
    study: Study, *, resuming: bool, sampler: Sampler | None = None
) -> list[Fault]:
    """Return the faults of all but the tracker; see `check_study`."""
    faults = Faults()
    datasets = _check_datasets(study, faults)
    _check_models(study, datasets, sampler, faults)
    _check_places(study, faults, resuming=resuming)
    return list(dict.fromkeys(faults))  # several seeds may have the same fault


def find_data_faults(study: Study) -> list[Fault]:
    """Return the faults of the protocol, the datasets, and the tasks of all seeds."""
    faults = Faults()
    _check_datasets(study, faults)
    return list(dict.fromkeys(faults))


def find_tracker_faults(study: Study, tracker: Tracker | None = None) -> list[Fault]:
    """Return the faults of the tracker and its server."""
    faults = Faults()
    name = study.config.tracking.tracker
    made = faults.attempt("tracking.tracker", tracking.make_tracker, name, tracker)
    if made:
        faults.attempt("tracking", made.check, study.config)
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
    read = [("data", faults.attempt("data", _check_data, study))]
    for name in data.targets:
        read.append(("data.targets", faults.attempt("data.targets", _check_target, study, name)))
    datasets = [dataset for _, dataset in read if dataset]
    if data.targets and len(datasets) == len(read):
        faults.attempt("data.targets", refuse_shared_images, datasets[0], datasets[1:])
    published = faults.attempt("data.shots_from", _check_published, data.shots_from)
    if published and read[0][1]:
        _check_seeds(study, faults, searched=can_select and protocol.validates(config))
    return datasets


def _check_seeds(study: Study, faults: Faults, *, searched: bool) -> None:
    """Check that the tasks of all seeds can be made.

    Args:
        study: the study.
        faults: collects the faults.
        searched: whether trials are validated, with the seed of the study.
    """
    config = study.config
    key = "data.shots_from" if config.data.shots_from else "data"
    seeds = set(study.protocol.shot_seeds(config))
    if searched:
        seeds.add(config.seed)
    for seed in sorted(seeds):
        faults.attempt(key, _check_tasks, study, seed, searched and seed == config.seed)
    if searched and config.search.folds is not None:
        faults.attempt("search.folds", _check_folds, study)


def _check_models(
    study: Study, datasets: Sequence[Dataset], sampler: Sampler | None, faults: Faults
) -> None:
    """Check the sampler, the checkpoint, and everything that depends on it."""
    search = study.config.search
    faults.attempt("search.sampler", sampler_named, search.sampler, sampler)
    for label, method in search.peer_methods.items():
        faults.attempt(f"search.baselines.{label}", PEERS[method].require)
    backbone = faults.attempt("backbone", _check_backbone, study)
    if not backbone:
        return
    for label, baseline in search.fixed_baselines.items():
        key = f"search.baselines.{label}.subset"
        faults.attempt(key, _check_subset, study, baseline.subset)
    for number, site in enumerate(search.space.sites):
        faults.attempt(f"search.space.sites.{number}", _check_subset, study, site)
    for label, method in search.peer_methods.items():
        faults.attempt(f"search.baselines.{label}", _check_family, study, label, method)
    for dataset in datasets:
        faults.attempt("data.templates", _check_prompts, dataset, backbone)
        key = "data" if dataset.name == study.config.data.dataset else "data.targets"
        faults.attempt(key, _check_tokens, dataset, backbone)
    if study.config.ablation:
        faults.attempt("ablation", ablation_cells, study)


def _check_places(study: Study, faults: Faults, *, resuming: bool) -> None:
    """Check the resources, the cluster, the storage and the name of a study."""
    resources = study.config.resources
    limits = [("cpus", float(count_cores()), "CPU cores")]
    if resources.gpus_per_trial:
        limits.append(("gpus", float(len(list_gpus())), "GPUs"))
    for kind, available, unit in limits:
        needed = getattr(resources, f"{kind}_per_trial")
        faults.attempt(f"resources.{kind}_per_trial", refuse_too_many, needed, available, unit)
    faults.attempt(ADDRESS, refuse_silent_cluster)
    if resuming:
        faults.attempt("storage", _check_storage, study.folder.path)
    else:
        faults.attempt("storage", _check_storage, study.config.storage)
        faults.attempt("name", study.folder.refuse_existing)


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
    repeated = dataset.name in BENCHMARKS  # published lists may repeat a name
    names = dataset.class_names
    refuse_unreadable_names(dataset.name, names, backbone.tokenizer, repeated=repeated)


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
