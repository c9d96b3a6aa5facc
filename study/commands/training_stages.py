"""The stages of a study that run trials, each under a line of its progress."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from study.commands.progress import StageProgress
from study.process.terminal_table import amount
from study.report.charts import prepare_drawing
from study.results.best_configuration import final_candidate, final_trial_id
from study.search import steps
from study.search.ablation_cells import ablation_trials
from study.search.choice import fix_candidates
from study.search.samplers import Sampler
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialData


def prepare_data(study: Study, console: Console) -> tuple[Preparer, TrialData | None]:
    """Lay out the images of the search, if there is one, under a bar of those that are decoded."""
    columns = (TextColumn("decoding images"), BarColumn(24), MofNCompleteColumn())
    # In a notebook, rich needs ipywidgets for its bars.
    with Progress(*columns, console=console, transient=True, disable=console.is_jupyter) as bar:
        task = bar.add_task("images", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        preparer = Preparer(study, study.architecture.image_size, show)
        data = None
        if study.protocol.searches(study.config):
            data = preparer.search()
        return preparer, data


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
        tracker: receives the trials, as the line of progress does.
        console: where progress is shown.
        sampler: see `study.commands.run_study.run_study`.
    """
    if not data or _has_chosen(study, study.candidates()):
        return
    search = study.config.search
    with _stage(console, study.folder, "search", search.planned_trials) as progress:
        progress.limit(steps.seconds_left(study))
        steps.run_search(study, data, [progress, tracker], sampler)
    trials = sum(
        search.counts_trial(trial["group"], trial["label"])
        for _, trial in study.folder.trials_of("search")
    )
    if search.minutes is not None and trials < search.trials:
        console.print(
            f"the search ended after its {amount(search.minutes, 'minute')}, with {trials} of "
            f"{search.trials} trials",
            highlight=False,
        )


def run_test_stage(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose the candidates, and only then read the test split and test them."""
    candidates = fix_candidates(study)
    data = {seed: preparer.test(seed) for seed in study.protocol.shot_seeds(study.config)}
    trainings = steps.trainings_of(candidates)
    # While workers train, so that the report need not wait for it.
    drawing = start_thread(prepare_drawing)
    with _stage(console, study.folder, "test", len(data) * len(trainings)) as progress:
        steps.run_test(study, trainings, data, [progress, tracker])
    drawing.result()


def run_final_stage(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Train the final model, if the configuration says so."""
    trial_id = final_trial_id(study.config, final_candidate(study.candidates()))
    if trial_id is None:
        steps.run_final(study, preparer, [tracker])
        return
    done = int(study.folder.trial(trial_id).has_finished())
    with StageProgress(console, "final", 1, done=done) as progress:
        steps.run_final(study, preparer, [progress, tracker])


def run_ablation(study: Study, preparer: Preparer, tracker: Tracker, console: Console) -> None:
    """Choose each cell's learning rates by validation, and only then read the test split.

    Args:
        study: the study, which has an ablation.
        preparer: lays out its data.
        tracker: receives the trials, as the line of progress does.
        console: where progress is shown.
    """
    if study.protocol.validates(study.config) and not _has_chosen(study, study.cells()):
        trials = sum(map(len, ablation_trials(study).values()))
        with _stage(console, study.folder, "search", trials) as progress:
            steps.run_ablation(study, preparer.search(), [progress, tracker])
    cells = steps.choose_rates(study)
    data = {seed: preparer.test(seed) for seed in study.protocol.shot_seeds(study.config)}
    with _stage(console, study.folder, "ablation", len(data) * len(cells)) as progress:
        steps.run_test(study, cells, data, [progress, tracker], stage="ablation")


def start_thread(function: Callable[[], None]) -> Future[None]:
    """Call a function in another thread, and return its future result."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def _has_chosen(study: Study, choice: object) -> bool:
    """Return whether a choice is made and no trial before it is open, such as a damaged one."""
    if choice is None:
        return False
    return all(trial.read_end() for trial, _ in study.folder.trials_of("search"))


def _stage(console: Console, folder: StudyFolder, stage: str, total: int) -> StageProgress:
    done = sum(trial.read_end() is not None for trial, _ in folder.trials_of(stage))
    return StageProgress(console, stage, total, done=done)
