"""A study from its configuration to its report: check, search, choose, confirm, report.

The studies of a sweep run one after the other, and then get common tables.
"""

import logging
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from study import tracking
from study.config.loading import Member, dump_config
from study.config.schema import AblationConfig, StudyConfig, TrackingConfig
from study.config.search_section import AUTO
from study.data.images.decode import PREPROCESSING
from study.errors import (
    BackboneError,
    ConfigError,
    InterruptedStudyError,
    StudyError,
    TrackingError,
)
from study.process.garbage import let_go
from study.process.terminal_table import print_sentences
from study.protocols import Protocol
from study.report.ablation_tables import ablation_table, render_ablation, write_ablation
from study.report.charts import get_ready_to_draw, write_plots
from study.report.leaderboard_tables import render, write_leaderboard
from study.report.page import champion_sentence, describe_study, write_report
from study.report.paper_tables import SWEEP_FILE, read_sweep, tables, write_tables
from study.report.pictures import Datasets
from study.report.plots import make_plots
from study.results.against_chance import fix_chance
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import Results, read_results, write_results
from study.search.ablation_cells import BASE, base_of
from study.search.ablation_search import fix_rates, tune_cells
from study.search.ablation_search import most_trials as most_cell_trials
from study.search.auto_precision import decide_precision
from study.search.confirmation import run_confirm
from study.search.driver import ray_session
from study.search.recording import drop_unproven_reports
from study.search.reuse import take_over
from study.search.samplers import Sampler
from study.search.stages import most_trials, run_search, seconds_left
from study.selection.candidates import extensions, fix_candidates
from study.selection.optimism import fix_optimism
from study.storage.atomic import StorageError, with_retries, write_atomically
from study.storage.command_lines import resume_command
from study.storage.ledger import DESCRIPTION, StudyFolder, repair
from study.storage.removal import new_study
from study.tracking.tracker import Tracker
from study.trial import TrialData
from study.trial.prepare import Preparer, image_cache
from study.trial.study import Candidate, Study
from study.workflow.announcing import announce
from study.workflow.check import (
    all_faults,
    changes_of_results,
    check_study,
    for_backbone,
    frozen_config,
)
from study.workflow.ending import close_tracker
from study.workflow.interruption import at_hang_up, interrupt
from study.workflow.progress import StageProgress, Steps

logger = logging.getLogger(__name__)


@at_hang_up(interrupt)
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
        tracker: a tracker of the name in the configuration, if it is not found by that.

    Raises:
        StudyError: the study has a fault that the user can fix, or it was interrupted.
    """
    study = Study(config, folder, protocol)
    check_study(study, resuming=resume, sampler=sampler, tracker=tracker)
    tracker = tracking.named(config.tracking.tracker, tracker)
    with folder.locked() if resume else new_study(folder, [image_cache(config)]):
        if resume:
            repair(folder)
            for trial in folder.trials():  # before MLflow or the search read their reports
                if trial.read_end() is None:
                    drop_unproven_reports(trial)
            _compare_with_origin(study)
        else:  # only under the lock, since another driver may be creating it
            folder.create(dump_config(config), _origin(study))
        with _telling_how_to_go_on(folder):
            outcome = _to_the_end(study, tracker, console, protocol, sampler)
    _conclude(*outcome, tracker, console)


def _to_the_end(
    study: Study,
    tracker: Tracker,
    console: Console,
    protocol: Protocol | None,
    sampler: Sampler | None,
) -> tuple[Results, Leaderboard]:
    """Do what is left of a study that has its folder; return what `write_outputs` does."""
    announce(study, console)
    preparer, search_data = _prepare(study, console)
    config, folder = study.config, study.folder
    finished, step = False, Steps(console)
    starting = _beside(partial(tracker.start, study))  # takes as long as Ray
    try:
        with ray_session(config, resume_command(folder.path)):
            starting.result()
            let_go()
            study = decide_precision(study)
            if config.training.precision == AUTO:
                precision = study.config.training.precision
                console.print(f"precision {precision}, the faster one where trials run")
            if config.ablation is not None:
                _ablate(study, config.ablation, preparer, tracker, console)
            else:
                if search_data is not None and not _has_chosen(study, study.candidates()):
                    with _stage(console, folder, "search", most_trials(study)) as progress:
                        beside = most_trials(study) - config.search.planned
                        progress.limit(seconds_left(study), beside=beside)
                        telling = _telling(progress, console)
                        run_search(study, search_data, [progress, tracker], sampler, telling)
                    _tell_of_time(study, console)
                _confirm(study, preparer, tracker, console)
            step("ending the processes of the trials")
        fix_chance(folder, protocol)
        step(f"sending results to {tracker.title}, and registering the winner there")
        tracker.register()
        step("making tables, charts and the report")
        outcome = write_outputs(folder, protocol, _datasets(study))
        finished = True
        return outcome
    finally:
        if starting.exception() is None:
            close_tracker(tracker, folder, console, step, finished=finished)


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


def write_outputs(
    folder: StudyFolder, protocol: Protocol | None = None, datasets: Datasets | None = None
) -> tuple[Results, Leaderboard]:
    """Write everything that is made from a study's results, from the table to the summary.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, if it is not found by its name.
        datasets: the datasets that were read already, whose test images the report may show.

    Returns:
        The results, which are read once, and their leaderboard.

    Raises:
        StorageError: the folder cannot be read or written.
    """
    trials = folder.path / "trials"
    with_retries(trials, trials.stat, known=folder.path)  # storage may be away
    results = read_results(folder.path, protocol)
    board = leaderboard(results)
    write_results(results)
    if results.ablates:
        write_ablation(folder.path, ablation_table(results))
    else:
        write_leaderboard(board)
    plots = make_plots(results, board)
    write_report(results, board, plots, datasets)  # it needs one format alone of each chart
    write_plots(folder.path, plots)
    write_atomically(folder.path / DESCRIPTION, describe_study(results, board))
    return results, board


@at_hang_up(interrupt)
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
                run_study(for_backbone(member.config), folder, console, resume=folder.exists())
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
        path = write_tables(results, members[0].config.storage)
        console.print(*tables(results))
        console.print(f"tables   {path}", highlight=False, soft_wrap=True)
    if failed:
        raise StudyError(f"{len(failed)} of {len(members)} studies failed:\n" + "\n".join(failed))


def _beside(do: Callable[[], None]) -> Future[None]:
    """Do something in another thread."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
    future = pool.submit(do)
    pool.shutdown(wait=False)
    return future


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
            _why_another(folder, for_backbone(member.config), finished=finished) if resuming else []
        )
        if finished and not folder.is_complete():
            found.append(
                f"name: {folder.path} has ended, and was then extended or repaired; finish that "
                f"first, by\n    {resume_command(folder.path)}"
            )
        if not finished:
            found += all_faults(
                study_of(member),
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


def _prepare(study: Study, console: Console) -> tuple[Preparer, TrialData | None]:
    """Lay out the images of the search, if there is one, under a bar of those that are decoded."""
    columns = (TextColumn("decoding images"), BarColumn(24), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("images", total=None)
        preparer = Preparer(
            study,
            study.architecture().image_size,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
        return preparer, preparer.search() if study.protocol().searches(study.config) else None


def _confirm(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose the candidates, and only then read the test split and test them."""
    candidates = fix_candidates(study)
    fix_optimism(study)
    if extensions(study):
        tracker.look_again()
    data = {seed: preparer.confirm(seed) for seed in study.protocol().shot_seeds(study.config)}
    total = len(data) * sum(candidate.same_as is None for candidate in candidates)
    ready = _beside(get_ready_to_draw)  # while workers train, not when the report is waited for
    with _stage(console, study.folder, "confirm", total) as progress:
        run_confirm(study, candidates, data, [progress, tracker])
    ready.result()


def _ablate(
    study: Study, ablation: AblationConfig, preparer: Preparer, tracker: Tracker, console: Console
) -> None:
    """Choose each cell's learning rates by validation, and only then read the test split."""
    known = partial(take_over, study.folder) if ablation.reuse else None
    if study.protocol().validates(study.config) and not _has_chosen(study, study.cells()):
        total = most_cell_trials(study)
        with _stage(console, study.folder, "search", total) as progress:
            telling = _telling(progress, console)
            tune_cells(study, preparer.search(), [progress, tracker], known, telling)
    chosen = [Candidate(label=label, settings=own) for label, own in fix_rates(study).items()]
    seeds = study.protocol().shot_seeds(study.config)
    tested = {seed: preparer.confirm(seed) for seed in seeds}
    with _stage(console, study.folder, "ablation", len(tested) * len(chosen)) as progress:
        run_confirm(study, chosen, tested, [progress, tracker], stage="ablation", take_over=known)


def _datasets(study: Study) -> Datasets:
    """Return the datasets of the test, which have been read by now, by name."""
    data = study.config.data
    return {data.dataset: study.dataset(), **{name: study.target(name) for name in data.targets}}


def _has_chosen(study: Study, choice: object) -> bool:
    """Return whether a choice is made and no search trial is open, such as a damaged one."""
    return choice is not None and all(
        trial.read_end()
        for trial in study.folder.trials()
        if trial.read_config()["stage"] == "search"
    )


def _tell_of_time(study: Study, console: Console) -> None:
    """Print how many trials a search has had in its time, if it had fewer than were planned."""
    search, configs = study.config.search, [t.read_config() for t in study.folder.trials()]
    done = sum(c["stage"] == "search" and search.plans(c["arm"], c["label"]) for c in configs)
    if search.minutes is not None and done < search.trials:
        console.print(
            f"the search ended after its {search.minutes:g} minutes, with {done} of "
            f"{search.trials} trials",
            highlight=False,
        )


def _stage(console: Console, folder: StudyFolder, stage: str, total: int) -> StageProgress:
    done = (t for t in folder.trials() if t.read_config()["stage"] == stage and t.read_end())
    return StageProgress(console, stage, total, done=len(list(done)))


def _telling(progress: StageProgress, console: Console) -> Callable[[Sequence[str], int], None]:
    """Return a function that prints sentences, and shows another number of trials from then on."""

    def tell(sentences: Sequence[str], trials: int) -> None:
        progress.expect(trials)
        for line in sentences:
            print_sentences(console, line)

    return tell


def _conclude(results: Results, board: Leaderboard, tracker: Tracker, console: Console) -> None:
    console.print(render_ablation(ablation_table(results)) if results.ablates else render(board))
    console.print(
        f"report   {results.folder.path / 'report.html'}", highlight=False, soft_wrap=True
    )
    if registration := results.registration:
        console.print(champion_sentence(registration, board), highlight=False)
        console.print(f"load     {registration.loading_line()}", highlight=False, soft_wrap=True)
    for word, line in tracker.pages():
        console.print(f"{word:8} {line}", highlight=False, soft_wrap=True)


def _compare_with_origin(study: Study) -> None:
    """Warn where images are decoded otherwise than when the study began; refuse other weights.

    Raises:
        BackboneError: the weights are not those with which the study began.
    """
    identity, now = study.folder.read_identity(), study.architecture().checkpoint
    if identity.get("preprocessing", PREPROCESSING) != PREPROCESSING:
        logger.warning(
            "images are decoded otherwise since '%s' began: those of more than 8 bits, with an "
            "orientation tag or with transparency have other pixels now, so that its trials do not "
            "compare; if the dataset has such images, begin a new study",
            study.folder.name,
        )
    framing = _framing(study)
    if (began := identity.get("framing", framing)) != framing:
        logger.warning(
            "images are brought to their size otherwise since '%s' began, by what the checkpoint "
            "says of it: %s, and %s before; begin a new study, since its trials do not compare",
            *(study.folder.name, framing, began),
        )
    if (original := identity.get("checkpoint", now)) != now:
        raise BackboneError(
            f"the backbone's files have changed since '{study.folder.name}' began, or are damaged: "
            f"its checkpoint was {original} and is {now}; put the former back"
        )


def _framing(study: Study) -> str:
    """Return how images are brought to their size."""
    framing = study.architecture().framing
    return f"{'both sides' if framing.squash else 'the shorter side'}, {framing.interpolation}"


def _origin(study: Study) -> dict[str, str | int]:
    """Return what a study is made with: versions, the checkpoint, a base of another study."""
    ablation = study.config.ablation
    packages = ("ray", "torch", "transformers", "optuna", "mlflow", "clipfit-study")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "checkpoint": study.architecture().checkpoint,
        "preprocessing": PREPROCESSING,
        "framing": _framing(study),
        **{f"{package}_version": version(package) for package in packages},
        **({BASE: base_of(study, ablation)} if ablation and ablation.base_from else {}),
    }


def _git_commit() -> str:
    """Return the git commit of the checkout that contains this package, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.check_output(
            command, text=True, stderr=subprocess.DEVNULL, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


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


def study_of(member: Member) -> Study:
    """Return the study of a member of a sweep, which need not exist."""
    return Study(for_backbone(member.config), _folder(member))


def _folder(member: Member) -> StudyFolder:
    return StudyFolder(member.config.storage / str(member.config.name))


def _finished(folder: StudyFolder) -> bool:
    return folder.path.exists() and folder.read_json(SWEEP_FILE) is not None
