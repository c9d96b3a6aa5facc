"""Train a queue of trials to their ends, without those whose ends the ledger holds."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.errors import DataError
from study.search.driver import RepeatingScheduler, run_trials
from study.search.ledger_callback import Observer, notify_of_end
from study.search.optuna_arm import Outcome
from study.search.recording import close_trial, drop_unproven_reports
from study.search.searcher import StudySearcher, outcome_of
from study.storage.trial_folder import End, TrialFolder
from study.trial import SPLIT_HASH, Stage, TrialConfig, TrialData
from study.trial.study import Study

TakeOver = Callable[[Sequence[TrialConfig]], Collection[str]]
"""A function that fills the folders of the trials with known results and returns their ids."""


@dataclass(frozen=True)
class Past:
    """A trial that the ledger holds."""

    config: TrialConfig
    end: End | None
    reports: list[dict[str, Any]]
    outcome: Outcome | None
    before: End | None
    """How it had ended before it was reopened; see `TrialFolder.read_earlier_end`."""


def run_queue(
    study: Study,
    stage: Stage,
    queue: Sequence[TrialConfig],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None = None,
) -> None:
    """Train the given trials of a stage to their last epoch, without those that have ended.

    Trials that have started come first. One that had been stopped before it was reopened is stopped
    after the same epoch again.

    Args:
        study: the study.
        stage: the stage of the trials.
        queue: the trials, in order.
        data: the data of the trials, by seed.
        observers: the listeners that are notified of every trial.
        take_over: a function that may supply results for the trials that have not started.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    past = read_past(study, stage, data, observers)
    if take_over is not None:
        new = [config for config in queue if config.trial_id not in past]
        past = read_past(study, stage, data, observers, take_over(new))
    _train(study, unfinished(past, queue), _earlier_ends(past), data, observers)


def run_reopened(
    study: Study, stage: Stage, data: Mapping[int, TrialData], observers: Sequence[Observer]
) -> None:
    """Train the trials of a stage that had ended before they were reopened; see `run_queue`."""
    past = read_past(study, stage, data, observers)
    before = _earlier_ends(past)
    reopened = [trial for trial in unfinished(past, ()) if trial.trial_id in before]
    _train(study, reopened, before, data, observers)


def _earlier_ends(past: Mapping[str, Past]) -> dict[str, End]:
    """Return how reopened trials had ended before, by id."""
    return {name: trial.before for name, trial in past.items() if trial.before is not None}


def _train(
    study: Study,
    trials: Sequence[TrialConfig],
    before: Mapping[str, End],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
) -> None:
    """Train trials of one stage to their last epoch, or to where they had been stopped before."""
    for batch, siblings in _batches(study, trials, data):
        if not batch:
            continue
        stage = batch[0].stage
        run_trials(
            study,
            StudySearcher(study.folder, batch, siblings=siblings, before=before),
            data={f"{stage}/{seed}": seed_data for seed, seed_data in data.items()},
            scheduler=RepeatingScheduler(before),
            count=len(batch),
            observers=observers,
        )


def _batches(
    study: Study, queue: Sequence[TrialConfig], data: Mapping[int, TrialData]
) -> Iterator[tuple[list[TrialConfig], dict[str, list[TrialConfig]]]]:
    """Yield trials to run and, by the id of each, those of the same training to test beside it.

    Then yield those that are still missing, since the other trial failed, to be trained alone.
    """
    first: dict[tuple[Any, ...], TrialConfig] = {}
    siblings: dict[str, list[TrialConfig]] = {}
    alone = []
    for trial in queue:
        trained = trial.settings.training_settings.model_copy(update={"subset": "none"})
        training = (
            trial.seed,
            trial.split_hash,
            trial.subset_key,
            trial.training,
            trial.epochs,
            trained,
        )
        leader = first.setdefault(training, trial)
        has_started = study.folder.trial(trial.trial_id).path.exists()
        if leader is trial or has_started or data[trial.seed].split != "test":
            alone.append(trial)
        else:
            siblings.setdefault(leader.trial_id, []).append(trial)
    yield alone, siblings
    missing = []
    for trials in siblings.values():
        for trial in trials:
            if not study.folder.trial(trial.trial_id).read_end():
                missing.append(trial)
    yield missing, {}


def read_past(
    study: Study,
    stage: Stage,
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    taken: Collection[str] = (),
) -> dict[str, Past]:
    """Return the trials of a stage that the ledger holds, by id.

    Trials with all their reports, which an earlier driver left open when it died, are closed. The
    observers are notified of those, and of the trials that were taken over.

    Raises:
        DataError: a trial trained or was evaluated on other images or classes than there are now.
    """
    past: dict[str, Past] = {}
    for folder in study.folder.trials():
        contents = folder.read_config()
        if contents["stage"] == stage:
            trial = _read_trial(folder, TrialConfig.model_validate(contents), observers, taken)
            past[trial.config.trial_id] = trial
    for trial in past.values():
        _refuse_other_data(trial.config, data)
    return past


def _read_trial(
    folder: TrialFolder,
    config: TrialConfig,
    observers: Sequence[Observer],
    taken: Collection[str],
) -> Past:
    """Return a trial that the ledger holds, and close it if it has all its reports."""
    end = folder.read_end()
    was_open = end is None
    before = None
    if was_open:
        drop_unproven_reports(folder)
        before = folder.read_earlier_end()
    reports = folder.read_reports()
    score = None
    if reports:
        score = reports[-1].get("val_score")
        last = before or End("finished", config.epochs, 0.0)
        if was_open and reports[-1]["epoch"] >= last.epochs:
            end = replace(last, seconds=sum(report["seconds"] for report in reports))
            close_trial(folder, end)
    outcome = None
    if end is not None:
        outcome = outcome_of(end, score)
        if was_open or config.trial_id in taken:
            notify_of_end(observers, config, end, score)
    return Past(config, end, reports, outcome, before)


def _refuse_other_data(config: TrialConfig, data: Mapping[int, TrialData]) -> None:
    """Raise DataError if a trial used other images or classes than its seed has now."""
    if config.seed not in data:
        return
    split_hash = data[config.seed].digest[:SPLIT_HASH]
    if split_hash != config.split_hash:
        raise DataError(
            f"{config.trial_id} was given other images or classes than its data has now: "
            f"shots/tasks-{config.split_hash}.jsonl and tasks-{split_hash}.jsonl of the study "
            "list both; put the dataset, or its split file, back as it was"
        )


def unfinished(past: Mapping[str, Past], queue: Iterable[TrialConfig]) -> list[TrialConfig]:
    """Return the trials that have not ended: those that have started first."""
    trials = [trial.config for trial in past.values() if trial.end is None]
    trials += [config for config in queue if config.trial_id not in past]
    return trials
