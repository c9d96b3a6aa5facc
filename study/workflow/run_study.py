"""A study from its configuration to its report: check, search, choose, confirm, report."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console

from study import tracking
from study.config.loading import dump_config
from study.config.schema import StudyConfig
from study.config.search_section import AUTO
from study.errors import InterruptedStudyError, StudyError, TrackingError
from study.process.garbage import resume_collection
from study.protocols import Protocol
from study.results.against_chance import fix_chance
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.search.auto_precision import decide_precision
from study.search.driver import ray_session
from study.search.recording import drop_unproven_reports
from study.search.samplers import Sampler
from study.storage.atomic import StorageError
from study.storage.command_lines import resume_command
from study.storage.removal import new_study
from study.storage.repair import repair
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.prepare import image_cache
from study.trial.study import Study
from study.workflow.announcement import announce
from study.workflow.check import check_study, tracker_advice
from study.workflow.close_tracker import close_tracker
from study.workflow.origin import compare_with_origin, study_origin
from study.workflow.outputs import datasets_of, print_outcome, write_outputs
from study.workflow.progress import Steps
from study.workflow.signals import handle_hang_up, interrupt
from study.workflow.training_stages import (
    prepare_data,
    run_ablation,
    run_confirm_stage,
    run_search_stage,
    start_thread,
)


@handle_hang_up(interrupt)
def run_study(
    config: StudyConfig,
    folder: StudyFolder,
    console: Console,
    *,
    resume: bool,
    protocol: Protocol | None = None,
    sampler: Sampler | None = None,
    tracker: Tracker | None = None,
) -> None:
    """Run a study, or the rest of one, to its end.

    Args:
        config: the study's configuration.
        folder: the study's folder.
        console: where progress and results are printed.
        resume: whether to go on with a study that exists.
        protocol: a protocol of the name in the configuration, if it is not found by that.
        sampler: a sampler of the name in the configuration, if it is not found by that.
        tracker: a tracker of a name in the configuration, if it is not found by that.

    Raises:
        StudyError: the study has a fault that the user can fix, or it was interrupted.
    """
    study = Study(config, folder, protocol)
    check_study(study, resuming=resume, sampler=sampler, tracker=tracker)
    tracker = tracking.make_tracker(study.config.tracking.trackers, tracker)
    with _opened(study, tracker, resume=resume), _telling_how_to_go_on(folder):
        results, board = _to_the_end(study, tracker, console, sampler)
    print_outcome(results, board, tracker, console)


@contextmanager
def _opened(study: Study, tracker: Tracker, *, resume: bool) -> Iterator[None]:
    """Hold the folder of a study, which is made, or repaired and compared with what it began with.

    Raises:
        StudyError: another process holds it, or the study cannot go on.
    """
    folder = study.folder
    if not resume:
        with new_study(folder, [image_cache(study.config)]):
            # Only under the lock, since another driver may be creating it.
            folder.create(dump_config(study.config), study_origin(study, tracker.packages))
            yield
        return
    with folder.locked():
        with tracker_advice(tracker):
            repair(folder)
        for trial in folder.trials():  # before a tracker or the search read their reports
            if trial.read_end() is None:
                drop_unproven_reports(trial)
        compare_with_origin(study)
        yield


@contextmanager
def _telling_how_to_go_on(folder: StudyFolder) -> Iterator[None]:
    """Say it in the message of an interruption, and of a fault that is mended elsewhere."""
    try:
        yield
    except KeyboardInterrupt as asked:
        fault = asked.__context__  # where it was closed because of that
        told = f" as it ended because of a fault ({fault})" * isinstance(fault, StudyError)
        raise InterruptedStudyError(
            f"the study was interrupted{told}; to continue, run\n  {resume_command(folder.path)}"
        ) from None
    except (StorageError, TrackingError) as error:
        raise type(error)(
            f"{error}; once that is repaired, run\n  {resume_command(folder.path)}"
        ) from error


def _to_the_end(
    study: Study, tracker: Tracker, console: Console, sampler: Sampler | None
) -> tuple[Results, Leaderboard]:
    """Do what is left of a study that has its folder; return what `write_outputs` does."""
    announce(study, console)
    preparer, search_data = prepare_data(study, console)
    folder = study.folder
    finished, step = False, Steps(console)
    starting = start_thread(partial(tracker.start, study))  # takes as long as Ray
    try:
        with ray_session(study.config, resume_command(folder.path)):
            starting.result()
            resume_collection()
            study = _in_precision(study, console)
            ablation = study.config.ablation
            if ablation is not None:
                run_ablation(study, preparer, tracker, console, reuse=ablation.reuse)
            else:
                run_search_stage(study, search_data, tracker, console, sampler)
                run_confirm_stage(study, preparer, tracker, console)
            step("ending the processes of the trials")
        fix_chance(folder, study.custom_protocol)
        if tracker.title:
            step(f"sending results to {tracker.title}, and registering the winner there")
        tracker.register()
        step("making tables, charts and the report")
        outcome = write_outputs(folder, study.custom_protocol, datasets_of(study))
        finished = True
        return outcome
    finally:
        if starting.exception() is None:
            close_tracker(tracker, folder, console, step, finished=finished)


def _in_precision(study: Study, console: Console) -> Study:
    """Return the study with the precision that ``auto`` stands for, which is printed."""
    decided = decide_precision(study)
    if study.config.training.precision == AUTO:
        precision = decided.config.training.precision
        console.print(f"precision {precision}, the faster one where trials run")
    return decided
