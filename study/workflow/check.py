"""Checks of everything a study needs, before anything starts; all faults are reported together.

The configuration of a study that exists is frozen, except for settings that change no result.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from study import tracking
from study.backbones.backbone import Backbone
from study.backbones.description import EMBEDDED, backbone_path, read_family
from study.backbones.load_backbone import load_backbone
from study.config.loading import load_config
from study.config.rules import broken_rules
from study.config.schema import WITHOUT_EFFECT, StudyConfig, TrackingConfig
from study.config.search_section import SITES_OF, SpaceConfig
from study.config.wording import short_repr
from study.data.datasets import refuse_unread_folder
from study.data.prompts import (
    prompts,
    refuse_control_characters,
    refuse_equal_prompts,
    refuse_equal_tokens,
    refuse_special_tokens,
)
from study.data.records import DataFaults, Dataset
from study.data.survey import refuse_absent
from study.data.tasks import all_classes, refuse_one_class
from study.errors import BackboneError, ConfigError, DataError, StudyError
from study.method.peers import PEERS
from study.method.subsets import parse
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
from study.storage.ledger_files import DamagedError
from study.storage.probe import refuse_unwritable, runs_in_copy
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.config_hash import code_of_others
from study.trial.prepare import find_shots, image_cache, tasks_of_search
from study.trial.study import Study

MAY_CHANGE = ("storage", "ablation.reuse", *WITHOUT_EFFECT)
"""The beginnings of the keys that a resumed study may change."""


class StudyFaults(ConfigError):
    """All faults for which a study cannot start, each with its place."""

    def __init__(self, faults: Sequence[str]) -> None:
        head = f"the study cannot start, {len(faults)} fault{'s' if len(faults) > 1 else ''}:"
        super().__init__("\n  ".join([head, *faults]))
        self.faults = faults


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
        StudyFaults: the study cannot start; the message lists every fault with its place in the
            configuration.
    """
    # A configuration that contradicts itself, made in Python, is not tried on any server.
    faults = broken_rules(study.config) or find_faults(
        study, resuming=resuming, sampler=sampler, tracker=tracker
    )
    if faults:
        raise StudyFaults(faults)


def find_faults(
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

    def attempt(*checks: tuple[str, Callable[[], object]]) -> list[Any]:
        """Return what the checks return that find no fault."""
        passed = []
        for place, check in checks:
            if place.partition(".")[0] not in passing_over:
                try:
                    passed.append(check())
                except DataFaults as error:
                    faults.extend(f"{place}: {fault}" for fault in error.faults)
                except StudyError as error:
                    faults.append(f"{place}: {error}")
                except PermissionError as error:  # even of asking whether a file is there
                    if error.filename is None:
                        raise
                    faults.append(f"{place}: {error.filename} cannot be used: {error.strerror}")
        return passed

    if not attempt(("protocol", study.protocol)):
        replaced = {*replaced, "protocol"}
        study = Study(study.config.model_copy(update={"protocol": FewShot.name}), study.folder)
    config, folder, protocol = study.config, study.folder, study.protocol()
    faults += [
        fault
        for fault in find_protocol_faults(config, protocol)
        if not any(place in fault for place in replaced)
    ]
    judged = not any(fault.startswith("search.selection:") for fault in faults)

    attempt(("protocol", partial(code_of_others, type(protocol))))
    data, refuse = config.data, refuse_unread_folder
    attempt(
        ("data.root", partial(refuse, data.root, [data.dataset], option="data.dataset=NAME")),
        (
            "data.targets_root",
            partial(refuse, data.targets_root, data.targets, option="data.targets=[NAME]"),
        ),
    )
    datasets: list[Dataset] = attempt(
        ("data", partial(_check_data, study)),
        *(("data.targets", partial(_check_target, study, name)) for name in config.data.targets),
    )
    for dataset in datasets:
        place = "data" if dataset.name == data.dataset else "data.targets"
        named = dataset.name, dataset.class_names
        attempt(
            (place, partial(refuse_equal_prompts, *named)),
            (place, partial(refuse_control_characters, *named)),
        )
    published = attempt(("data.shots_from", partial(_check_published, data.shots_from)))
    if published and any(dataset.name == data.dataset for dataset in datasets):
        searched = {config.seed} if protocol.validates(config) and judged else set()
        place = "data.shots_from" if config.data.shots_from else "data"
        attempt(
            *(
                (place, partial(_check_tasks, study, seed, seed in searched))
                for seed in sorted({*searched, *protocol.shot_seeds(config)})
            )
        )
    for backbone in attempt(("backbone", partial(_check_backbone, study))):
        subsets = {
            f"search.baselines.{label}.subset": baseline.subset
            for label, baseline in config.search.fixed_baselines.items()
        } | {f"search.space.sites.{n}": site for n, site in enumerate(config.search.space.sites)}
        attempt(*((place, partial(_check_subset, study, text)) for place, text in subsets.items()))
        attempt(
            *(
                (f"search.baselines.{label}", partial(_check_family, study, label, method))
                for label, method in config.search.peer_methods.items()
            )
        )
        attempt(*(("data.templates", partial(_check_prompts, d, backbone)) for d in datasets))
        attempt(*(("data", partial(_check_tokens, d, backbone)) for d in datasets))
        if config.ablation is not None and "search" not in passing_over:  # cells are its sites
            attempt(("ablation", partial(ablation_cells, study)))
    attempt(
        ("search.sampler", partial(sampler_named, config.search.sampler, sampler)),
        ("search.warm_start", partial(_check_warm_start, study)),
        *(
            (f"search.baselines.{label}", PEERS[method].require)
            for label, method in config.search.peer_methods.items()
        ),
        ("resources.cpus_per_trial", partial(refuse_too_many_cpus, config.resources)),
        ("resources.gpus_per_trial", partial(refuse_too_many_gpus, config.resources)),
        (source_of_address(), refuse_silent_cluster),
        ("storage", partial(_check_storage, folder.path if resuming else config.storage)),
        *([] if resuming else [("name", partial(_check_name, study))]),
    )
    make_trackers = partial(tracking.make_trackers, config.tracking.trackers, tracker)
    for trackers in attempt(("tracking.trackers", make_trackers)):
        attempt(*(("tracking", partial(each.check, config)) for each in trackers))
    return list(dict.fromkeys(faults))  # each seed may have the same fault


def with_sites_of_backbone(config: StudyConfig) -> StudyConfig:
    """Return a configuration whose default list of sites is that of its backbone's family.

    A backbone that cannot be read leaves it as it is; checking the study finds that fault.
    """
    space, backbone = config.search.space, config.backbone
    if space.sites != SpaceConfig().sites or backbone.name == EMBEDDED:
        return config
    try:
        family = read_family(backbone_path(backbone.name), revision=backbone.revision)
    except BackboneError:
        return config
    space = space.model_copy(update={"sites": SITES_OF[family or "clip"]})
    search = config.search.model_copy(update={"space": space})
    return config.model_copy(update={"search": search})


def frozen_config(folder: StudyFolder) -> StudyConfig:
    """Read the frozen configuration of a study.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: the configuration does not fit this version of the schema.
    """
    # The trackers of the study itself are not known yet.
    with tracker_advice(tracking.make_tracker(TrackingConfig().trackers)):
        folder.refuse_damaged()
    return load_config(folder.config_path, frozen=True)


@contextmanager
def tracker_advice(tracker: Tracker) -> Iterator[None]:
    """Tell where a tracker may have copies of the files of a study that are damaged.

    Raises:
        DamagedError: that of the block, with the advice of the tracker as its last line.
    """
    try:
        yield
    except DamagedError as error:
        lines = [str(error), tracker.advice()]
        raise DamagedError("\n".join(line for line in lines if line)) from error


def load_resumed_config(folder: StudyFolder, overrides: Iterable[str]) -> StudyConfig:
    """Return the frozen configuration with overrides of settings that may change.

    Raises:
        LedgerError: a file that every command needs is missing or damaged.
        ConfigError: an override is invalid, or would change results.
    """
    frozen = frozen_config(folder)
    config = load_config(folder.config_path, overrides, frozen=True)
    if refused := changes_of_results(frozen, config):
        head = (
            f"study '{folder.name}' exists, and would no longer compare its trials if these "
            "changed; allowed to change are storage, resources and tracking, and search.trials "
            "by clipfit-study extend:"
        )
        raise ConfigError("\n  ".join([head, *refused]))
    return config


def changes_of_results(
    frozen: StudyConfig, config: StudyConfig, *, besides: Collection[str] = ()
) -> list[str]:
    """Return a line for each setting by which a configuration would give other results.

    Args:
        frozen: the configuration of the study.
        config: the configuration that is wanted instead.
        besides: further keys that may differ.
    """
    changes = _differences(frozen.model_dump(mode="json"), config.model_dump(mode="json"))
    return [
        f"{key}: is frozen as {short_repr(before)}, got {short_repr(after)}"
        for key, before, after in changes
        if not key.startswith(MAY_CHANGE) and key not in besides
    ]


def _check_backbone(study: Study) -> Backbone:
    """Load the checkpoint: faulty weights or a faulty tokenizer would fail every trial."""
    study.architecture()
    backbone = study.config.backbone
    return load_backbone(backbone_path(backbone.name), revision=backbone.revision)


def _check_prompts(dataset: Dataset, backbone: Backbone) -> None:
    groups = prompts(dataset.class_names, dataset.templates)
    backbone.tokenize([prompt for group in groups for prompt in group])


def _check_tokens(dataset: Dataset, backbone: Backbone) -> None:
    """Refuse class names that the backbone's tokenizer does not read as texts of their own."""
    refuse_special_tokens(dataset.name, dataset.class_names, backbone.tokenizer)
    refuse_equal_tokens(dataset.name, dataset.class_names, backbone.tokenizer)


def _check_subset(study: Study, text: str) -> None:
    parse(text).resolve(study.architecture().depths)


def _check_family(study: Study, label: str, method: str) -> None:
    """Refuse a peer that trains what the family of the backbone has not."""
    family, trained = study.architecture().family, PEERS[method].families
    if family not in trained:
        others = [name for name, row in PEERS.items() if family in row.families]
        raise ConfigError(
            f"'{method}' needs a backbone of the family {' or '.join(trained)}, and "
            f"{study.config.backbone.name} is a {family}; allowed are {' and '.join(others)}, or "
            f"none: search.baselines.{label}=null"
        )


def _check_data(study: Study) -> Dataset:
    if not study.dataset().test:
        raise DataError(
            f"{study.config.data.dataset}: has no test images, and a study tests its choice on "
            "images that it never saw; allowed are images of a split 'test' (or 'val'), or no "
            "splits at all, so that a fixed rule makes them"
        )
    refuse_absent(study.dataset(), study.config.data.on_corrupt)
    refuse_one_class(study.dataset(), study.protocol().answers(study.dataset()))
    return study.dataset()


def _check_target(study: Study, name: str) -> Dataset:
    target = study.target(name)
    if not target.test:
        raise DataError(f"{name}: has no test images")
    refuse_absent(target, study.config.data.on_corrupt)
    refuse_one_class(target, all_classes(target))
    return target


def _check_published(folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder} is no folder; allowed is one with published few-shot splits")


def _check_tasks(study: Study, seed: int, searching: bool) -> None:
    """Make the tasks of a seed's trials, which raises if they cannot be made."""
    protocol = study.protocol()
    shots = find_shots(study, seed) if protocol.trains else None
    if shots is not None and searching:
        tasks_of_search(study, shots)
    if seed in protocol.shot_seeds(study.config):
        protocol.confirm_task(study.dataset(), shots)


def _check_name(study: Study) -> None:
    images = image_cache(study.config)
    if study.folder.path.name.casefold() == images.name:  # not all disks tell capitals
        raise ConfigError(f"{images} is the folder of decoded images; choose another name")
    study.folder.refuse_existing()


def _check_warm_start(study: Study) -> None:
    name, storage = study.config.search.warm_start, study.folder.path.parent
    begun = any((study.folder.path / "trials").glob("*"))  # what it needs of the other, it has read
    if name is not None and not begun and not (storage / name / "optuna.journal").exists():
        there = sorted(path.parent.name for path in storage.glob("*/optuna.journal"))
        raise ConfigError(
            f"no study '{name}' with a search in {storage}; there are {', '.join(there) or 'none'}"
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


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], section: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose values differ, and both values."""
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{section}{name}.")
        elif old != new:
            yield f"{section}{name}", old, new
