"""Train a queue of trials to their ends, without those whose ends the ledger holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from study.errors import DataError
from study.search.driver import run_trials
from study.search.ledger_callback import Observers, notify_of_end
from study.search.optuna_arm import Outcome
from study.search.recording import close_trial, drop_reports_beyond_state
from study.search.scheduler import RepeatingScheduler
from study.search.searcher import StudySearcher, outcome_of
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import End, TrialFolder
from study.trial.study import SPLIT_HASH, Stage, Study, TrialConfig, TrialData

DataBySeed = Mapping[int, TrialData]
"""The data of trials, by seed."""


class LedgerTrial(NamedTuple):
    """A trial that the ledger holds."""

    config: TrialConfig
    end: End | None
    """How it ended; None while it has not."""
    reports: list[JsonObject]
    outcome: Outcome | None
    """Its end in the form that an arm records; None while it has not ended."""
    before: End | None
    """How it had ended before it was reopened; see `TrialFolder.read_earlier_end`."""


def run_queue(
    study: Study,
    stage: Stage,
    queue: Sequence[TrialConfig],
    data: DataBySeed,
    observers: Observers,
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

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    ledger = read_and_close_trials(study, stage, data, observers)
    _train(study, unfinished(ledger, queue), ledger, data, observers)


def run_reopened(study: Study, data: DataBySeed, observers: Observers) -> None:
    """Train the trials of the search that had ended before they were reopened; see `run_queue`."""
    ledger = read_and_close_trials(study, "search", data, observers)
    reopened = [trial.config for trial in ledger.values() if trial.before and not trial.end]
    _train(study, reopened, ledger, data, observers)


def _train(
    study: Study,
    trials: Sequence[TrialConfig],
    ledger: Mapping[str, LedgerTrial],
    data: DataBySeed,
    observers: Observers,
) -> None:
    """Train trials of one stage to their last epoch, or to where they had been stopped before."""
    before = {name: trial.before for name, trial in ledger.items() if trial.before}
    run_trials(
        study,
        StudySearcher(study.folder, trials, before=before),
        data=data,
        scheduler=RepeatingScheduler(before),
        count=len(trials),
        observers=observers,
    )


def read_and_close_trials(
    study: Study,
    stage: Stage,
    data: DataBySeed,
    observers: Observers,
) -> dict[str, LedgerTrial]:
    """Return the trials of a stage that the ledger holds, by id, and repair unfinished ones.

    Of an unfinished trial, the reports beyond its state are dropped. If it has all its reports, as
    when its driver died before it closed it, it is closed here, and the observers are notified.

    Args:
        study: the study.
        stage: the stage of the trials.
        data: the data of the trials, by seed.
        observers: the listeners that are notified of ends.

    Raises:
        DataError: a trial trained or was evaluated on other images or classes than there are now.
    """
    ledger = {}
    for folder, contents in study.folder.trials_of(stage):
        config = TrialConfig.model_validate(contents)
        ledger[config.trial_id] = _read_and_close_trial(folder, config, observers)
    for trial in ledger.values():
        # An earlier final model may have been trained on other images than the one of now.
        is_compared = trial.end is None or stage != "final"
        if not is_compared or trial.config.seed not in data:
            continue
        before = trial.config.split_hash
        now = data[trial.config.seed].digest[:SPLIT_HASH]
        if now != before:
            raise DataError(
                f"{trial.config.trial_id} was given other images or classes than its data has now: "
                f"shots/tasks-{before}.jsonl and tasks-{now}.jsonl of the study "
                "list both; put the dataset, or its split file, back as it was"
            )
    return ledger


def _read_and_close_trial(
    folder: TrialFolder,
    config: TrialConfig,
    observers: Observers,
) -> LedgerTrial:
    """Return a trial that the ledger holds, after its repair; see `read_and_close_trials`."""
    end = folder.read_end()
    was_open = end is None
    before = None
    if was_open:
        drop_reports_beyond_state(folder)
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
    if end:
        outcome = outcome_of(end, score)
        if was_open:
            notify_of_end(observers, config, end, score)
    return LedgerTrial(config, end, reports, outcome, before)


def unfinished(
    ledger: Mapping[str, LedgerTrial], queue: Iterable[TrialConfig]
) -> list[TrialConfig]:
    """Return the trials that have not ended: those that have started first."""
    trials = [trial.config for trial in ledger.values() if not trial.end]
    trials += [config for config in queue if config.trial_id not in ledger]
    return trials
