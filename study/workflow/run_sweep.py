"""The studies of a sweep, which run one after the other and then get common tables."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console

from study.config.schema import StudyConfig, TrackingConfig
from study.config.sweep import Member
from study.errors import ConfigError, InterruptedStudyError, StudyError
from study.report.paper_tables import sweep_tables, write_sweep_tables
from study.results.sweep_scores import SWEEP_FILE, read_sweep
from study.search.driver import ray_session
from study.storage.command_lines import resume_command
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.check import (
    changes_of_results,
    find_faults,
    frozen_config,
    with_sites_of_backbone,
)
from study.workflow.run_study import run_study
from study.workflow.signals import handle_hang_up, interrupt

logger = logging.getLogger(__name__)


@handle_hang_up(interrupt)
def run_sweep(members: Sequence[Member], console: Console) -> None:
    """Run the unfinished studies of a sweep; if one fails, the others still run.

    Raises:
        ConfigError: a study cannot start; then none was started.
        StudyError: studies failed; raised after the others ran.
        InterruptedStudyError: a study was interrupted; the rest of the sweep was not run.
    """
    check_sweep(members)
    failed: list[str] = []
    with ray_session(members[0].config):
        for member in members:
            folder = _folder(member)
            if _finished(folder):
                continue
            try:
                run_study(
                    with_sites_of_backbone(member.config), folder, console, resume=folder.exists()
                )
            except InterruptedStudyError:
                raise
            except StudyError as error:
                logger.warning("%s failed: %s", folder.name, error)
                failed.append(f"{folder.name}: {error}")
            else:
                folder.write_json(
                    SWEEP_FILE, {"experiment": member.experiment, "axes": dict(member.axes)}
                )
    if finished := [folder.path for member in members if _finished(folder := _folder(member))]:
        results = read_sweep(finished)
        path = write_sweep_tables(results, members[0].config.storage)
        console.print(*sweep_tables(results))
        console.print(f"tables   {path}", highlight=False, soft_wrap=True)
    if failed:
        raise StudyError(f"{len(failed)} of {len(members)} studies failed:\n" + "\n".join(failed))


def check_sweep(members: Sequence[Member]) -> None:
    """Check everything that the unfinished studies need, before any of them starts.

    Raises:
        ConfigError: a study cannot start; the message lists every fault with its studies and place.
    """
    faults: dict[str, list[str]] = defaultdict(list)  # fault → studies that have it
    asked: dict[TrackingConfig, list[str]] = {}  # server → faults: ask each only once
    for member in members:
        folder, server = _folder(member), member.config.tracking
        finished, resuming = _finished(folder), folder.exists()
        found = (
            _why_another(folder, with_sites_of_backbone(member.config), finished=finished)
            if resuming
            else []
        )
        if finished and not folder.is_complete():
            found.append(
                f"name: {folder.path} has ended, and was then extended or repaired; finish that "
                f"first, by\n    {resume_command(folder.path)}"
            )
        if not finished:
            found += find_faults(
                member_study(member),
                resuming=resuming,
                passing_over=("tracking",) if server in asked else (),
            )
            asked.setdefault(server, [one for one in found if one.startswith("tracking")])
            found += asked[server]
        for fault in dict.fromkeys(found):
            faults[fault].append(folder.name)
    if faults:
        lines = "\n".join(f"  {_named(names)}: {fault}" for fault, names in faults.items())
        raise ConfigError(f"the studies cannot start:\n{lines}")


def member_study(member: Member) -> Study:
    """Return the study of a member of a sweep, which need not exist."""
    return Study(with_sites_of_backbone(member.config), _folder(member))


def _why_another(folder: StudyFolder, config: StudyConfig, *, finished: bool) -> list[str]:
    """Return why a study that exists is not the one that is wanted; empty if it is."""
    besides = ("search.trials",) if finished else ()  # it may have been extended
    try:
        changes = changes_of_results(frozen_config(folder), config, besides=besides)
    except StudyError as error:
        return [f"name: {error}"]
    if not changes:
        return []
    return [
        f"name: {folder.path} is a study with another configuration; choose another beginning of "
        f"names by name=… ({'; '.join(changes)})"
    ]


def _named(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if names[1:] else names[0]


def _folder(member: Member) -> StudyFolder:
    return StudyFolder(member.config.storage / str(member.config.name))


def _finished(folder: StudyFolder) -> bool:
    return folder.path.exists() and folder.read_json(SWEEP_FILE) is not None
