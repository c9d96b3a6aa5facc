"""The run of a sweep: one study after the other, and then tables of all of them."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console

from study.commands.check import find_faults
from study.commands.configured_study import with_metric
from study.commands.frozen_configuration import changes_of_results, frozen_config
from study.commands.resolved_config import with_sites_of_backbone
from study.commands.run_study import run_study
from study.commands.signals import handle_hang_up, interrupt
from study.config.schema import TrackingConfig
from study.config.search_section import AUTO
from study.config.sweep import Member
from study.errors import ConfigError, InterruptedStudyError, StudyError
from study.process.terminal_table import print_unwrapped
from study.report.paper_tables import refuse_other_tables, sweep_tables, write_sweep_tables
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
        console.print(*sweep_tables(results))
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


def check_sweep(members: Sequence[Member]) -> None:
    """Check everything that the unfinished studies need, before any of them starts.

    Raises:
        ConfigError: a study cannot start; the message lists every fault with its studies and path.
            Or the tables would replace a file of the user's own.
    """
    try:
        refuse_other_tables(members[0].config.storage)
    except StorageError as error:
        raise ConfigError(f"storage: {error}") from error
    studies_by_fault = defaultdict(list)
    # Each server is asked only once.
    faults_by_server: dict[TrackingConfig, list[str]] = {}
    for member in members:
        for fault in dict.fromkeys(_faults_of_member(member, faults_by_server)):
            studies_by_fault[fault].append(_folder(member).name)
    if studies_by_fault:
        lines = ["the studies cannot start:"]
        for fault, names in studies_by_fault.items():
            studies = names[0]
            if len(names) > 1:
                studies += f" and {len(names) - 1} more"
            lines.append(f"  {studies}: {fault}")
        raise ConfigError("\n".join(lines))


def _faults_of_member(
    member: Member, faults_by_server: dict[TrackingConfig, list[str]]
) -> list[str]:
    """Return the faults of a study, and add those of its server if it was not asked before."""
    study = member_study(member)
    folder = study.folder
    server = member.config.tracking
    resuming = folder.exists()
    finished = _finished(folder)
    faults = []
    if resuming:
        faults += _compare_configs(study, extended=finished)
    if finished:
        if not folder.is_complete():
            faults.append(
                f"name: {folder.path} has ended, and was then extended or repaired; finish that "
                f"first, by\n    {study_command('resume', folder.path)}"
            )
        return faults
    skipped = ("tracking",) if server in faults_by_server else ()
    faults += find_faults(study, resuming=resuming, skipped=skipped)
    if server not in faults_by_server:
        faults_by_server[server] = [fault for fault in faults if fault.startswith("tracking")]
    return faults + faults_by_server[server]


def member_study(member: Member) -> Study:
    """Return the study of a member of a sweep, which need not exist."""
    study = Study(with_sites_of_backbone(member.config), _folder(member))
    if _finished(study.folder):  # its data may be gone
        return study
    return with_metric(study)


def _compare_configs(study: Study, *, extended: bool) -> list[str]:
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
        return [f"name: {error}"]
    if not changes:
        return []
    return [
        f"name: {folder.path} is a study with another configuration; choose another beginning of "
        f"names by name=… ({'; '.join(changes)})"
    ]


def _folder(member: Member) -> StudyFolder:
    return StudyFolder(member.config.storage / str(member.config.name))


def _finished(folder: StudyFolder) -> bool:
    return folder.exists() and folder.read_json(SWEEP_FILE) is not None
