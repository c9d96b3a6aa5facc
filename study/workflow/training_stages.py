"""The stages of a study that run trials, each under a line of its progress."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from study.process.terminal_table import print_sentences
from study.report.charts import prepare_drawing
from study.search.ablation_search import fix_rates, tune_cells
from study.search.ablation_search import most_trials as most_cell_trials
from study.search.confirmation import run_confirm
from study.search.reuse import take_over
from study.search.samplers import Sampler
from study.search.stages import Announce, most_trials, run_search, seconds_left
from study.selection.candidates import fix_candidates
from study.selection.extension import extensions
from study.selection.optimism import fix_optimism
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.study import Candidate, Study
from study.workflow.progress import StageProgress


def prepare_data(study: Study, console: Console) -> tuple[Preparer, TrialData | None]:
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


def run_search_stage(
    study: Study,
    data: TrialData | None,
    tracker: Tracker,
    console: Console,
    sampler: Sampler | None,
) -> None:
    """Search configurations, unless the choice among them is made.

    Args:
        study: the study.
        data: the data of the search; None if the study has none.
        tracker: what hears of the trials beside the line of progress.
        console: where progress is shown.
        sampler: see `study.workflow.run_study.run_study`.
    """
    if data is None or _has_chosen(study, study.candidates()):
        return
    most = most_trials(study)
    with _stage(console, study.folder, "search", most) as progress:
        progress.limit(seconds_left(study), beside=most - study.config.search.planned_trials)
        run_search(study, data, [progress, tracker], sampler, _telling(progress, console))
    _tell_of_time(study, console)


def run_confirm_stage(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose the candidates, and only then read the test split and test them."""
    candidates = fix_candidates(study)
    fix_optimism(study)
    if extensions(study):
        tracker.rescan_trials()
    data = {seed: preparer.confirm(seed) for seed in study.protocol().shot_seeds(study.config)}
    total = len(data) * sum(candidate.same_as is None for candidate in candidates)
    ready = start_thread(prepare_drawing)  # while workers train, not when the report is waited for
    with _stage(console, study.folder, "confirm", total) as progress:
        run_confirm(study, candidates, data, [progress, tracker])
    ready.result()


def run_ablation(
    study: Study, preparer: Preparer, tracker: Tracker, console: Console, *, reuse: bool
) -> None:
    """Choose each cell's learning rates by validation, and only then read the test split.

    Args:
        study: the study.
        preparer: what lays out its data.
        tracker: what hears of the trials beside the line of progress.
        console: where progress is shown.
        reuse: whether to take over results of other studies.
    """
    known = partial(take_over, study.folder) if reuse else None
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


def start_thread(do: Callable[[], None]) -> Future[None]:
    """Do something in another thread."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
    future = pool.submit(do)
    pool.shutdown(wait=False)
    return future


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
    done = sum(
        c["stage"] == "search" and search.counts_trial(c["arm"], c["label"]) for c in configs
    )
    if search.minutes is not None and done < search.trials:
        console.print(
            f"the search ended after its {search.minutes:g} minutes, with {done} of "
            f"{search.trials} trials",
            highlight=False,
        )


def _stage(console: Console, folder: StudyFolder, stage: str, total: int) -> StageProgress:
    done = (t for t in folder.trials() if t.read_config()["stage"] == stage and t.read_end())
    return StageProgress(console, stage, total, done=len(list(done)))


def _telling(progress: StageProgress, console: Console) -> Announce:
    """Return a function that prints sentences, and shows another number of trials from then on."""

    def tell(sentences: Sequence[str], trials: int) -> None:
        progress.expect(trials)
        for line in sentences:
            print_sentences(console, line)

    return tell
