"""The run of a study: check, search, choose, test, report."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console

from study import tracking
from study.commands.announcement import announce
from study.commands.check import check_study
from study.commands.close_tracker import close_tracker
from study.commands.frozen_configuration import tracker_advice
from study.commands.origin import compare_with_origin, study_origin
from study.commands.outputs import print_outcome, write_outputs
from study.commands.progress import Steps
from study.commands.signals import handle_hang_up, interrupt
from study.commands.training_stages import (
    prepare_data,
    run_ablation,
    run_final_stage,
    run_search_stage,
    run_test_stage,
    start_thread,
)
from study.config.loading import dump_config
from study.config.search_section import AUTO
from study.errors import ClusterError, InterruptedStudyError, StudyError, TrackingError
from study.results.against_chance import fix_chance
from study.results.best_configuration import is_outdated_final
from study.results.study_result import StudyResult
from study.search.auto_precision import decide_precision
from study.search.driver import ray_session
from study.search.recording import drop_reports_beyond_state
from study.search.samplers import Sampler
from study.storage.atomic import StorageError
from study.storage.command_lines import study_command
from study.storage.repair import repair
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.study import Study

RESUMABLE_FAULTS = (StorageError, TrackingError, ClusterError)
"""The faults of storage, a server or Ray; once they are repaired, a study can be resumed."""


@handle_hang_up(interrupt)
def run_study(
    study: Study,
    console: Console,
    *,
    resume: bool,
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> None:
    """Run a new study, or what is left of an existing one, to its end.

    Args:
        study: the study: its configuration and its folder.
        console: where progress and results are printed.
        resume: whether the study exists and is to be continued.
        sampler: the sampler that the configuration names, if it is no object of a package.
        tracker: a tracker that the configuration names, if it is no object of a package.

    Raises:
        StudyError: the study has a fault that the user can fix, or it was interrupted.
    """
    check_study(study, resuming=resume, sampler=sampler, tracker=tracker)
    # Later than the checks, whose messages have folders as they were given.
    study = study.with_config(study.config.with_absolute_folders())
    tracker = tracking.make_tracker(study.config.tracking.tracker, tracker)
    with _open_folder(study, tracker, resume=resume), _next_command_in_errors(study.folder):
        board, hints = _run_to_the_end(study, tracker, console, sampler)
    print_outcome(board, hints, console)


@contextmanager
def _open_folder(study: Study, tracker: Tracker, *, resume: bool) -> Iterator[None]:
    """Lock the folder of a study during the block: a new folder, or an existing one once repaired.

    A new study that fails before its first trial is removed, unless it can be resumed.

    Raises:
        StudyError: another process runs the study, or it cannot be continued.
    """
    folder = study.folder
    if not resume:
        folder.create(dump_config(study.config), study_origin(study, tracker.packages))
    try:
        with folder.locked():
            if resume:
                with tracker_advice(tracker):
                    repair(folder, partial(is_outdated_final, study))
                for trial in folder.trials():  # before a tracker or the search read their reports
                    if not trial.read_end():
                        drop_reports_beyond_state(trial)
                compare_with_origin(study)
            yield
    except (InterruptedStudyError, *RESUMABLE_FAULTS):
        raise
    except Exception:
        if not resume:
            folder.remove_if_unused()
        raise


@contextmanager
def _next_command_in_errors(folder: StudyFolder) -> Iterator[None]:
    """Name the command that resumes the study in errors after which it can be resumed.

    If the study is finished, name the one that sends what its tracker lacks.
    """
    command = study_command("resume", folder.path)
    try:
        yield
    except KeyboardInterrupt as interruption:
        cause = ""
        fault = interruption.__context__  # a fault after which the study was being closed
        if isinstance(fault, StudyError):
            cause = f" as it ended because of a fault ({fault})"
        elif folder.is_complete():
            raise InterruptedStudyError(
                f"study '{folder.name}' is finished; to send what its tracker lacks, run\n"
                f"  {study_command('sync', folder.path)}"
            ) from None
        raise InterruptedStudyError(
            f"the study was interrupted{cause}; to continue, run\n  {command}"
        ) from None
    except RESUMABLE_FAULTS as error:
        raise type(error)(f"{error}; once that is repaired, run\n  {command}") from error


def _run_to_the_end(
    study: Study, tracker: Tracker, console: Console, sampler: Sampler | None
) -> tuple[StudyResult, Sequence[tuple[str, str]]]:
    """Run the remaining stages of a study whose folder is open, and write its outputs.

    Returns:
        What `write_outputs` and `close_tracker` return.
    """
    announce(study, console)
    preparer, search_data = prepare_data(study, console)
    folder = study.folder
    finished = False
    steps = Steps(console)
    tracker_start = start_thread(partial(tracker.start, study))  # takes as long as Ray
    try:
        with ray_session(study_command("resume", folder.path)):
            tracker_start.result()
            is_auto = study.config.training.precision == AUTO
            study = decide_precision(study)
            if is_auto:
                precision = study.config.training.precision
                console.print(f"precision {precision}, the faster one where trials run")
            if study.config.ablation:
                run_ablation(study, preparer, tracker, console)
            else:
                run_search_stage(study, search_data, tracker, console, sampler)
                run_test_stage(study, preparer, tracker, console)
                run_final_stage(study, preparer, tracker, console)
            steps("ending the processes of the trials")
        fix_chance(folder, study.custom_protocol)
        if tracker.title:
            steps(f"sending results to {tracker.title}, and registering the winner there")
        tracker.register()
        steps("making tables, charts and the report")
        datasets = {dataset.name: dataset for dataset in (study.dataset, *study.targets())}
        board = write_outputs(folder, study.custom_protocol, datasets)
        finished = True
    finally:
        if tracker_start.exception() is None:
            hints = close_tracker(tracker, folder, console, steps, finished=finished)
    return board, hints
