"""The execution of a study: check, search, test, final model, report."""

import logging
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version

from rich.console import Console
from rich.progress import Progress

from study import tracking
from study.commands.check import check_study
from study.commands.check_images import find_warnings
from study.commands.check_result import print_facts, print_warnings
from study.commands.estimate import plan_fact
from study.commands.facts import study_facts
from study.commands.progress import StageProgress, print_step
from study.commands.signals import handle_signals, interrupt
from study.commands.write_results import print_results, write_results
from study.config.loading import dump_config
from study.config.search_section import AUTO
from study.errors import BackboneError, ClusterError, InterruptedStudyError, TrackingError
from study.report.terminal import print_unwrapped
from study.results.study_result import read_ended_study, write_chance
from study.search import steps
from study.search.ablation_cells import ablation_trials
from study.search.auto_precision import decide_precision
from study.search.candidates import read_or_choose_candidates
from study.search.checkpoints import restore_reports_of_state
from study.search.driver import ray_session, run_trials
from study.search.ray_watch import exit_if_ray_is_lost
from study.search.runner import run_in_process
from study.search.searcher import Round
from study.storage.atomic import StorageError
from study.storage.command_lines import study_command
from study.storage.repair import repair
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker, TrackerObserver
from study.trial.prepare import Preparer
from study.trial.study import Stage, Study, TrialData

logger = logging.getLogger(__name__)

RESUMABLE_FAULTS = (StorageError, TrackingError, ClusterError)
"""The faults of storage, a server or Ray; once they are repaired, a study can be resumed."""


@handle_signals(interrupt)
def run_study(study: Study, console: Console, *, resume: bool, in_process: bool = False) -> None:
    """Run a new study, or what is left of an existing one, to its end.

    Args:
        study: the study: its configuration and its folder.
        console: where progress and results are printed.
        resume: whether the study exists and is to be continued.
        in_process: whether trials run one after the other in this process, without Ray.

    Raises:
        StudyError: the study has a fault that the user can fix, or it was interrupted.
    """
    with ExitStack() as session:
        ray_start = None if in_process else session.enter_context(ray_session())
        check_study(study, resuming=resume)
        tracker = tracking.make_tracker(study.config.tracking.tracker)
        with _open_folder(study, resume=resume):
            _run_to_the_end(study, tracker, console, session, ray_start)


@contextmanager
def _open_folder(study: Study, *, resume: bool) -> Iterator[None]:
    """Lock the folder of a study during the block: a new folder, or an existing one once repaired.

    A new study that fails before its first trial is removed, unless it can be resumed. Errors after
    which it can be have the command that resumes it or, of a finished study, the one that sends
    what its tracker lacks.

    Raises:
        StudyError: another process runs the study, or it cannot be continued.
    """
    folder = study.folder
    command = study_command("resume", folder.path)
    if not resume:
        _create_folder(study)
    try:
        with folder.locked():
            if resume:
                _repair_folder(study)
            yield
    except KeyboardInterrupt:
        text = f"the study was interrupted; to continue, run\n  {command}"
        if folder.is_complete():
            sync = study_command("sync", folder.path)
            text = f"the study is finished; to send its tracker the missing results, run\n  {sync}"
        raise InterruptedStudyError(text) from None
    except RESUMABLE_FAULTS as error:
        raise type(error)(f"{error}; once this is fixed, run\n  {command}") from error
    except InterruptedStudyError:
        raise
    except Exception:
        if not resume:
            folder.remove_if_unused()
        raise


def _create_folder(study: Study) -> None:
    """Write the frozen configuration of a new study, and the versions that it is made with."""
    origin = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": study.architecture.checkpoint,
    }
    for package in ("ray", "torch", "transformers", "optuna", "mlflow", "clipfit-study"):
        origin[f"{package}_version"] = version(package)
    study.folder.create(dump_config(study.config), origin)


def _repair_folder(study: Study) -> None:
    """Delete what is damaged and can be made again, and what a trial reported beyond its state.

    Raises:
        BackboneError: the checkpoint is not the one that the study began with.
        FolderError: what is damaged cannot be made again.
    """
    folder, checkpoint = study.folder, study.architecture.checkpoint
    repair(folder)
    for trial in folder.trials():  # before a tracker or the search read their reports
        if not trial.read_end():
            restore_reports_of_state(trial)
    before = folder.read_identity().get("checkpoint", checkpoint)
    if before != checkpoint:
        raise BackboneError(
            f"the backbone's files have changed since '{folder.name}' began, or are damaged: its "
            f"checkpoint was {before} and is {checkpoint}; restore the former"
        )


def _run_to_the_end(
    study: Study,
    tracker: Tracker,
    console: Console,
    session: ExitStack,
    ray_start: Future[None] | None,
) -> None:
    """Run the remaining steps of a study whose folder is open, and write and print its results.

    The session, which is left after the last trial, is that of Ray. Without a start of Ray, trials
    run in this process.
    """
    folder, finished = study.folder, False
    console.print(
        f"{folder.name}: {study.config.protocol} on {study.config.data.dataset}, "
        f"results in {folder.path}"
    )
    print_facts([*study_facts(study), plan_fact(study)], console)
    print_warnings(find_warnings([study]), console)
    preparer, data = _lay_out_images(study, console)
    runner = run_trials if ray_start else run_in_process
    # It takes seconds, and so starts beside the first trials.
    tracker_start = ThreadPoolExecutor(1).submit(tracker.start, study)
    try:
        with ThreadPoolExecutor(1) as beside, session:
            if ray_start:
                ray_start.result()
                lost = exit_if_ray_is_lost(study_command("resume", folder.path))
                session.enter_context(lost)  # it ends before Ray is asked to
            is_auto = study.config.training.precision == AUTO
            study = decide_precision(study, in_process=ray_start is None)
            if is_auto:
                precision = study.config.training.precision
                console.print(f"precision {precision}, the faster one where trials run")
            sending = TrackerObserver(tracker, tracker_start)
            with closing(_steps(study, preparer, data, sending, console)) as rounds:
                runner(study, rounds)
            # Ray takes seconds to end.
            ray_end = beside.submit(session.pop_all().close)
            board = read_ended_study(folder)
            write_chance(board)
            if tracker.title:
                step = f"sending results to {tracker.title}, and registering the best there"
                print_step(console, step)
            tracker.register()
            print_step(console, "making tables, charts and the report")
            datasets = {dataset.name: dataset for dataset in (study.dataset, *study.targets())}
            write_results(board, datasets)
            ray_end.result()
        finished = True
    finally:
        if tracker_start.exception() is None:
            hints = close_tracker(tracker, folder, console, finished=finished)
    print_results(board, hints, console)


def _lay_out_images(study: Study, console: Console) -> tuple[Preparer, TrialData | None]:
    """Lay out the images that validate, if any do, under a bar of those that are decoded."""
    # In a notebook, rich needs ipywidgets for its bars.
    with Progress(console=console, transient=True, disable=console.is_jupyter) as bar:
        task = bar.add_task("decoding images", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        preparer = Preparer(study, study.architecture.image_size, show)
        return preparer, preparer.search() if study.protocol.validates(study.config) else None


def _steps(
    study: Study,
    preparer: Preparer,
    data: TrialData | None,
    sending: TrackerObserver,
    console: Console,
) -> Generator[Round, None, None]:
    """Search and choose; only then read the test split, test, and train the final model."""
    config, folder, protocol = study.config, study.folder, study.protocol
    stage: Stage = "ablation" if config.ablation else "test"
    if data:
        total = config.search.planned_trials
        if config.ablation:
            total = sum(map(len, ablation_trials(study).values()))
        done = sum(trial.read_end() is not None for trial, _ in folder.trials_of("search"))
        with StageProgress(console, "search", total, done=done) as line:
            if config.ablation:
                yield from steps.run_ablation(study, data, [line, sending])
            else:
                line.limit(steps.seconds_left(study))
                yield from steps.run_search(study, data, [line, sending])
    sending.wait_for_start()
    if config.ablation:
        trainings = steps.choose_rates(study)
    else:
        trainings = steps.trainings_of(read_or_choose_candidates(study))
    tested = {seed: preparer.test(seed) for seed in protocol.shot_seeds(config)}
    batches = [steps.plan_test(study, trainings, tested, stage)]
    if not config.ablation:  # the longest training comes first, so that no worker waits for its end
        batches.insert(0, steps.plan_final(study, preparer, [sending]))
    folders = [folder.trial(trial.trial_id) for batch in batches for trial in batch.trials]
    done = sum(trial.read_end() is not None for trial in folders)
    with StageProgress(console, stage, len(folders), done=done) as line:
        yield from steps.run_test(study, batches, [line, sending])


def close_tracker(
    tracker: Tracker, folder: StudyFolder, console: Console, *, finished: bool
) -> Sequence[tuple[str, str]]:
    """Send the rest of a study's results, and print what could not be sent.

    A closed terminal and ``kill`` do not stop this, since they ask the study to close; Ctrl-C does.

    Args:
        tracker: the tracker of the study.
        folder: the study's folder.
        console: where the missing results are listed.
        finished: whether the study ran to its end.

    Returns:
        How to view the study, see `study.tracking.tracker.TrackerMessages`.

    Raises:
        KeyboardInterrupt: the study was interrupted meanwhile.
    """
    sync = study_command("sync", folder.path)
    notice = f"the study is ending; Ctrl-C ends it at once, and `{sync}` sends the rest"
    with handle_signals(lambda: logger.warning("%s", notice)):
        if tracker.title:
            print_step(console, f"sending the rest to {tracker.title}")
        lines = tracker.close(finished=finished)
        if lines.missing:
            text = f"{tracker.title} lacks {lines.missing}\nto send them later, run\n  {sync}"
            print_unwrapped(console, text, "yellow")
    return lines.hints
