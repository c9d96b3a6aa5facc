"""A study from its configuration to its report: check, search, choose, confirm, report."""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from study import tracking
from study.analysis.ablation import ablation_table, render_ablation, write_ablation
from study.analysis.charts import write_plots
from study.analysis.leaderboard import Leaderboard, leaderboard, render, write_leaderboard
from study.analysis.plots import make_plots
from study.analysis.report import champion_sentence, describe_study, loading_line, write_report
from study.analysis.results import Results, read_results, write_results
from study.config.loading import dump_config
from study.config.schema import StudyConfig
from study.data.images.decode import PREPROCESSING, ImageCounter
from study.errors import BackboneError
from study.protocols import Protocol
from study.search.ablation_cells import ablation_cells
from study.search.driver import ray_session
from study.search.recording import drop_unproven_reports
from study.search.samplers import Sampler
from study.search.stages import budget, fix_rates, run_confirm, run_search, test_cells, tune_cells
from study.selection.candidates import extensions, fix_candidates
from study.storage.atomic import write_atomically
from study.storage.ledger import DESCRIPTION, StudyFolder, repair
from study.tracking.reuse import take_over
from study.tracking.tracker import Tracker, describe_unsent
from study.trial.prepare import Preparer
from study.trial.study import Study
from study.workflow.check import caution, check_study
from study.workflow.progress import StageProgress

logger = logging.getLogger(__name__)


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
    if not resume:
        folder.claim()
    with folder.locked():
        if resume:
            repair(folder)
            for trial in folder.trials():  # before MLflow or the search read their reports
                if trial.read_end() is None:
                    drop_unproven_reports(trial)
            _compare_with_origin(study)
        else:  # only under the lock, since another driver may be creating it
            folder.create(dump_config(config), _origin(study))
        _announce(study, console)
        with _decoding(console) as counter:
            preparer = Preparer(study, study.architecture().image_size, counter)
            search_data = preparer.search() if study.protocol().searches(config) else None
        tracker.start(study)
        finished = False
        try:
            with ray_session(config):
                if config.ablation is not None:
                    _ablate(study, preparer, tracker, console)
                else:
                    if search_data is not None and not _has_chosen(study, study.candidates()):
                        with _stage(console, folder, "search", config.search.trials) as progress:
                            run_search(study, search_data, [progress, tracker], sampler)
                    _confirm(study, preparer, tracker, console)
            tracker.register()
            outcome = write_outputs(folder, protocol)
            finished = True
        finally:
            if unsent := tracker.close(finished=finished):
                console.print(
                    f"{tracker.title} lacks {describe_unsent(unsent)}\nsend them, once that is "
                    f"mended, by clipfit-study --sync {folder.name}",
                    style="yellow",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    _conclude(*outcome, tracker, console)


def write_outputs(
    folder: StudyFolder, protocol: Protocol | None = None
) -> tuple[Results, Leaderboard]:
    """Write everything that is made from a study's results, from the table to the summary.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, if it is not found by its name.

    Returns:
        The results, which are read once, and their leaderboard.
    """
    results = read_results(folder.path, protocol)
    board = leaderboard(results)
    write_results(results)
    if results.ablates:
        write_ablation(folder.path, ablation_table(results))
    else:
        write_leaderboard(board)
    plots = make_plots(results, board)
    write_plots(folder.path, plots)
    write_report(results, board, plots)
    write_atomically(folder.path / DESCRIPTION, describe_study(results, board))
    return results, board


def _confirm(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose the candidates, and only then read the test split and test them."""
    config, folder = study.config, study.folder
    candidates = fix_candidates(study)
    if extensions(study):
        tracker.look_again()
    data = {seed: preparer.confirm(seed) for seed in study.protocol().shot_seeds(config)}
    total = len(data) * sum(candidate.same_as is None for candidate in candidates)
    with _stage(console, folder, "confirm", total) as progress:
        run_confirm(study, candidates, data, [progress, tracker])


def _ablate(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose each cell's learning rate by validation, and only then read the test split."""
    config, folder, ablation = study.config, study.folder, study.config.ablation
    known = partial(take_over, tracker, folder) if ablation and ablation.reuse else None
    if study.protocol().validates(config) and not _has_chosen(study, study.cells()):
        total = len(ablation.rates) * len(ablation_cells(study)) if ablation else 0
        with _stage(console, folder, "search", total) as progress:
            tune_cells(study, preparer.search(), [progress, tracker], known)
    chosen = fix_rates(study)
    tested = {seed: preparer.confirm(seed) for seed in study.protocol().shot_seeds(config)}
    with _stage(console, folder, "ablation", len(tested) * len(chosen)) as progress:
        test_cells(study, chosen, tested, [progress, tracker], known)


def _has_chosen(study: Study, choice: object) -> bool:
    """Return whether a choice is made and no search trial is open, such as a damaged one."""
    search = [trial for trial in study.folder.trials() if trial.read_config()["stage"] == "search"]
    return choice is not None and all(trial.read_end() for trial in search)


def _announce(study: Study, console: Console) -> None:
    config, folder, protocol = study.config, study.folder, study.protocol()
    shots = f"{config.data.shots} shots, " if protocol.trains else ""
    plan = f"no search: {len(protocol.tested_as_given(config))} configurations as they are"
    if protocol.searches(config):
        split = budget(config)
        plan = (
            f"{config.search.trials} trials: {split.baselines} baselines, {split.tuned} tune "
            f"CLIPFit's learning rates and λ, {split.open} search subsets as well"
        )
    if config.ablation is not None:
        plan = (
            f"an ablation of the design {config.ablation.design}, "
            f"{len(config.ablation.rates)} learning rates a cell"
        )
    console.print(
        f"[bold]{folder.name}[/]: {config.protocol} on {config.data.dataset}, "
        f"{shots}{config.backbone.name}; results in {folder.path}\n"
        f"{plan}; then {len(protocol.shot_seeds(config))} seeds on test",
        highlight=False,
    )
    caution([config], console)


def _stage(console: Console, folder: StudyFolder, stage: str, total: int) -> StageProgress:
    done = sum(
        t.read_config()["stage"] == stage and t.read_end() is not None for t in folder.trials()
    )
    return StageProgress(console, stage, total, done)


def _conclude(results: Results, board: Leaderboard, tracker: Tracker, console: Console) -> None:
    shown = render_ablation(ablation_table(results)) if results.ablates else render(board)
    folder = results.folder
    console.print(shown)
    console.print(f"report   {folder.path / 'report.html'}", highlight=False, soft_wrap=True)
    if registration := results.registration:
        console.print(champion_sentence(registration), highlight=False)
        console.print(f"load     {loading_line(registration)}", highlight=False, soft_wrap=True)
    for word, line in tracker.pages():
        console.print(f"{word:8} {line}", highlight=False, soft_wrap=True)


@contextmanager
def _decoding(console: Console) -> Iterator[ImageCounter]:
    """Show a progress bar of decoded images; yield the function that updates it."""
    columns = (TextColumn("decoding images"), BarColumn(24), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("images", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _compare_with_origin(study: Study) -> None:
    """Warn where images are decoded otherwise than when the study began; refuse other weights.

    Raises:
        BackboneError: the weights are not those with which the study began.
    """
    identity, now = study.folder.read_identity(), study.architecture().checkpoint
    if identity.get("preprocessing", 1) != PREPROCESSING:
        logger.warning(
            "images are decoded otherwise since '%s' began: those of more than 8 bits, with an "
            "orientation tag or with transparency have other pixels now, so that its trials do not "
            "compare; if the dataset has such images, begin a new study",
            study.name,
        )
    if (original := identity.get("checkpoint", now)) != now:
        raise BackboneError(
            f"the backbone's files have changed since '{study.name}' began, or are damaged: its "
            f"checkpoint was {original} and is {now}; put the former back"
        )


def _origin(study: Study) -> dict[str, str | int]:
    """Return the versions and the checkpoint that a study is made with."""
    packages = ("ray", "torch", "transformers", "optuna", "mlflow", "clipfit-study")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git_commit(),
        "checkpoint": study.architecture().checkpoint,
        "preprocessing": PREPROCESSING,
        **{f"{package}_version": version(package) for package in packages},
    }


def _git_commit() -> str:
    """Return the git commit of the checkout that contains this package, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() or "unknown"
