"""A sweep: one study after the other, and then tables of all of them."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from study.commands.check import Faults, find_study_faults, find_tracker_faults
from study.commands.console import output_console
from study.commands.execution import run_study
from study.commands.extend import EXTENDABLE
from study.commands.find import load_study, refuse_changed_results
from study.commands.new_study import decided_study
from study.config.search_section import AUTO
from study.config.sweep import SweepStudy
from study.errors import Fault, FaultsError, InterruptedStudyError, StudyError
from study.report.sweep_tables import refuse_other_tables, sweep_summary, write_sweep_tables
from study.report.terminal import print_unwrapped
from study.results.sweep_scores import SWEEP_FILE, read_sweep
from study.search.driver import ray_session
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

logger = logging.getLogger(__name__)


def run_sweep(planned: Sequence[SweepStudy]) -> None:
    """Run the unfinished studies of a sweep; if one fails, the others still run.

    Args:
        planned: the studies.

    Raises:
        ConfigError: a study cannot start; then none was started.
        StudyError: studies failed; raised after the others ran.
        InterruptedStudyError: a study was interrupted; the rest of the sweep was not run.
    """
    console = output_console()
    studies = check_sweep(planned)
    failed = []
    with ray_session() as ray_start:
        ray_start.result()
        for one, study in zip(planned, studies, strict=True):
            if _finished(study.folder):
                continue
            try:
                run_study(study, console, resume=study.folder.exists())
                axes = {"experiment": one.experiment, "axes": dict(one.axes)}
                study.folder.write_json(SWEEP_FILE, axes)
            except InterruptedStudyError:
                raise
            except StudyError as error:
                logger.warning("%s failed: %s", study.folder.name, error)
                failed.append(f"{study.folder.name}: {error}")
    finished = [study.folder.path for study in studies if _finished(study.folder)]
    if finished:
        results = read_sweep(finished)
        path = write_sweep_tables(results, planned[0].config.storage)
        console.print(sweep_summary(results))
        print_unwrapped(console, f"tables   {path}")
    if failed:
        lines = "\n".join(failed)
        raise StudyError(f"{len(failed)} of {len(planned)} studies failed:\n{lines}")


def check_sweep(planned: Sequence[SweepStudy]) -> list[Study]:
    """Return the studies of a sweep, once all that the unfinished ones need is checked.

    Raises:
        ConfigError: a study cannot start; the message lists every fault with its studies and path.
            Or the tables would replace a file of the user's own.
    """
    faults = Faults()
    faults.attempt("storage", refuse_other_tables, planned[0].config.storage)
    studies = [decided_study(one.config) for one in planned]
    names_by_fault: dict[Fault, list[str]] = defaultdict(list)
    for study in studies:
        for fault in _find_faults(study):
            names_by_fault[fault].append(study.folder.name)
    for fault, (name, *others) in names_by_fault.items():
        more = f" and {len(others)} more" if others else ""
        faults.append(replace(fault, message=f"{name}{more}: {fault.message}"))
    # Each server is asked only once.
    trackers = {study.config.tracking: study for study in studies if not _finished(study.folder)}
    for study in trackers.values():
        faults += find_tracker_faults(study)
    if faults:
        raise FaultsError("the studies cannot start,", faults)
    return studies


def _find_faults(study: Study) -> list[Fault]:
    """Return the faults of a study of a sweep, without those of its tracker."""
    folder, faults = study.folder, Faults()
    if folder.exists():
        faults.attempt("name", _refuse_other_config, study)
    if not _finished(folder):
        faults += find_study_faults(study, resuming=folder.exists())
    return faults


def _refuse_other_config(study: Study) -> None:
    """Raise StudyError if the existing study has another configuration than the wanted one.

    A finished study may have been extended. The metric, which the data decides, may be open.
    """
    frozen = load_study(study.folder).config
    may_differ = [*EXTENDABLE] if _finished(study.folder) else []
    if AUTO in (frozen.search.metric, study.config.search.metric):
        may_differ.append("search.metric")
    refuse_changed_results(frozen, study.config, study.folder, besides=may_differ)


def _finished(folder: StudyFolder) -> bool:
    """Return whether a study has ended in a sweep, and has not been extended or reopened since."""
    return folder.is_complete() and folder.read_json(SWEEP_FILE) is not None
