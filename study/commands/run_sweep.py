"""The run of a sweep: one study after the other, and then tables of all of them."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from study.commands.check import find_study_faults, find_tracker_faults
from study.commands.check_result import CheckResult, Fact
from study.commands.frozen_configuration import changes_of_results, frozen_config
from study.commands.new_study import with_metric, with_sites_of_backbone
from study.commands.run_study import run_study
from study.commands.signals import handle_hang_up, interrupt
from study.commands.start_warnings import find_warnings
from study.config.schema import TrackingConfig
from study.config.search_section import AUTO
from study.config.sweep import Member
from study.errors import Fault, FaultsError, InterruptedStudyError, StudyError
from study.process.terminal_table import print_unwrapped
from study.report.paper_tables import refuse_other_tables, sweep_summary, write_sweep_tables
from study.results.sweep_scores import SWEEP_FILE, read_sweep
from study.search.driver import ray_session
from study.storage.atomic import StorageError
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

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
    failed = []
    with ray_session():
        for member in members:
            try:
                run_member(member, console)
            except InterruptedStudyError:
                raise
            except StudyError as error:
                logger.warning("%s failed: %s", member.config.name, error)
                failed.append(f"{member.config.name}: {error}")
    folders = [_folder(member) for member in members]
    finished = [folder.path for folder in folders if _finished(folder)]
    if finished:
        results = read_sweep(finished)
        path = write_sweep_tables(results, members[0].config.storage)
        console.print(sweep_summary(results))
        print_unwrapped(console, f"tables   {path}")
    if failed:
        lines = "\n".join(failed)
        raise StudyError(f"{len(failed)} of {len(members)} studies failed:\n{lines}")


def run_member(member: Member, console: Console) -> None:
    """Run a study of a sweep, or what is left of it.

    Raises:
        StudyError: it failed or was interrupted.
    """
    folder = _folder(member)
    if _finished(folder):
        return
    run_study(member_study(member), console, resume=folder.exists())
    folder.write_json(SWEEP_FILE, {"experiment": member.experiment, "axes": dict(member.axes)})


def check_everything_of_sweep(members: Sequence[Member]) -> CheckResult:
    """Check everything that the studies of a sweep need, but read no pixels; start nothing.

    Raises:
        FaultsError: see `check_sweep`.
    """
    check_sweep(members)
    warnings = find_warnings([member_study(member) for member in members])
    return CheckResult(warnings=warnings, facts=[Fact("studies", str(len(members)))])


def check_sweep(members: Sequence[Member]) -> None:
    """Check everything that the unfinished studies need, before any of them starts.

    Raises:
        ConfigError: a study cannot start; the message lists every fault with its studies and path.
            Or the tables would replace a file of the user's own.
    """
    try:
        refuse_other_tables(members[0].config.storage)
    except StorageError as error:
        raise FaultsError("the studies cannot start,", [Fault("storage", str(error))]) from error
    studies_by_fault: dict[Fault, list[str]] = defaultdict(list)
    servers: set[TrackingConfig] = set()  # each is asked only once
    for member in members:
        study = member_study(member)
        faults = _find_faults(study)
        if member.config.tracking not in servers and not _finished(study.folder):
            servers.add(member.config.tracking)
            faults += find_tracker_faults(study)
        for fault in dict.fromkeys(faults):
            studies_by_fault[fault].append(study.folder.name)
    if studies_by_fault:
        faults = []
        for fault, names in studies_by_fault.items():
            studies = names[0]
            if len(names) > 1:
                studies += f" and {len(names) - 1} more"
            faults.append(replace(fault, message=f"{studies}: {fault.message}"))
        raise FaultsError("the studies cannot start,", faults)


def _find_faults(study: Study) -> list[Fault]:
    """Return the faults of a study of a sweep, without those of its tracker."""
    folder = study.folder
    finished = _finished(folder)
    faults = []
    if folder.exists():
        faults += _compare_configs(study, extended=finished)
    if not finished:
        return faults + find_study_faults(study, resuming=folder.exists())
    if not folder.is_complete():
        command = study_command("resume", folder.path)
        message = (
            f"{folder.path} has ended, and was then extended or repaired; finish that first, by\n"
            f"    {command}"
        )
        faults.append(Fault("name", message))
    return faults


def member_study(member: Member) -> Study:
    """Return the study of a member of a sweep, which need not exist."""
    study = Study(with_sites_of_backbone(member.config), _folder(member))
    if _finished(study.folder):  # its data may be gone
        return study
    return with_metric(study)


def _compare_configs(study: Study, *, extended: bool) -> list[Fault]:
    """Return a fault if the existing study has another configuration than the wanted one.

    The metric, which the data decides, may still be open in either of them.

    Args:
        study: the study.
        extended: whether it may have been extended, so that the number of its trials may differ.
    """
    folder, wanted = study.folder, study.config
    try:
        frozen = frozen_config(folder)
        may_differ = ["search.trials"] if extended else []
        if AUTO in (frozen.search.metric, wanted.search.metric):
            may_differ.append("search.metric")
        changes = changes_of_results(frozen, wanted, besides=may_differ)
    except StudyError as error:
        return [Fault("name", str(error))]
    if not changes:
        return []
    message = (
        f"{folder.path} is a study with another configuration; choose another beginning of names "
        f"by name=… ({'; '.join(changes)})"
    )
    return [Fault("name", message)]


def _folder(member: Member) -> StudyFolder:
    return StudyFolder(member.config.storage / str(member.config.name))


def _finished(folder: StudyFolder) -> bool:
    return folder.exists() and folder.read_json(SWEEP_FILE) is not None
