"""A queue of trials that are to be trained to their ends, less what the ledger holds of them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from study.errors import DataError
from study.search.driver import AsBefore, run_trials
from study.search.ledger_callback import Observer, notify_of_end
from study.search.optuna_arm import Outcome
from study.search.recording import close_trial, drop_unproven_reports
from study.search.searcher import StudySearcher, outcome_of
from study.storage.trial_folder import End
from study.trial import SPLIT_HASH, Stage, TrialConfig, TrialData
from study.trial.study import Study

TakeOver = Callable[[Sequence[TrialConfig]], Collection[str]]
"""A function that fills the folders of the trials with known results and returns their ids."""


def run_queue(
    study: Study,
    stage: Stage,
    wanted: Sequence[TrialConfig],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None = None,
    *,
    only_again: bool = False,
) -> None:
    """Train the given trials of a stage to their last epoch, without those that have ended.

    Trials that have started come first. One that had been stopped before it was reopened is stopped
    after the same epoch again.

    Args:
        study: the study.
        stage: the stage of the trials.
        wanted: the trials, in order.
        data: the data of the trials, by seed.
        observers: the listeners that are notified of every trial.
        take_over: a function that may supply results for the trials that have not started.
        only_again: whether to train only what had ended before it was reopened.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    past = read_past(study, stage, data, observers)
    if take_over is not None:
        taken = take_over([c for c in wanted if c.trial_id not in past])
        past = read_past(study, stage, data, observers, taken)
    before = {name: trial.before for name, trial in past.items() if trial.before is not None}
    trials = [t for t in left(past, wanted) if t.trial_id in before or not only_again]
    for queue, siblings in _shared(study, trials, data):
        run_trials(
            study,
            StudySearcher(study.folder, queue, siblings=siblings, before=before),
            data={f"{stage}/{seed}": seed_data for seed, seed_data in data.items()},
            scheduler=AsBefore(before),
            count=len(queue),
            observers=observers,
        )


def _shared(
    study: Study, queue: Sequence[TrialConfig], data: Mapping[int, TrialData]
) -> Iterator[tuple[list[TrialConfig], dict[str, list[TrialConfig]]]]:
    """Yield trials to run, with those of the same training that are tested beside each, by its id.

    Then yield those that are still missing, since the other trial failed, to be trained alone.
    """
    first: dict[tuple[Any, ...], TrialConfig] = {}
    siblings: dict[str, list[TrialConfig]] = {}
    alone: list[TrialConfig] = []
    for trial in queue:
        key = (trial.seed, trial.split_hash, trial.subset_key, trial.training, trial.epochs)
        trained = trial.settings.as_trained.model_copy(update={"subset": "none"})
        one = first.setdefault((*key, trained), trial)
        started = study.folder.trial(trial.trial_id).path.exists()
        if one is trial or started or data[trial.seed].split != "test":
            alone.append(trial)
        else:
            siblings.setdefault(one.trial_id, []).append(trial)
    yield alone, siblings
    beside = (trial for own in siblings.values() for trial in own)
    yield [trial for trial in beside if not study.folder.trial(trial.trial_id).read_end()], {}


@dataclass(frozen=True)
class Past:
    """A trial that the ledger holds."""

    config: TrialConfig
    end: End | None
    reports: list[dict[str, Any]]
    outcome: Outcome | None
    before: End | None
    """How it had ended before it was reopened; see `TrialFolder.read_earlier_end`."""


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
        if (written := folder.read_config())["stage"] != stage:
            continue
        config, end = TrialConfig.model_validate(written), folder.read_end()
        if was_open := end is None:
            drop_unproven_reports(folder)
        reports = folder.read_reports()
        score = reports[-1].get("val_score") if reports else None
        before = folder.read_earlier_end() if was_open else None
        last = before or End("finished", config.epochs, 0.0)
        if was_open and reports and reports[-1]["epoch"] >= last.epochs:
            end = replace(last, seconds=sum(r["seconds"] for r in reports))
            close_trial(folder, end)
        if end is not None and (was_open or config.trial_id in taken):
            notify_of_end(observers, config, end, score)
        outcome = outcome_of(end, score) if end is not None else None
        past[config.trial_id] = Past(config, end, reports, outcome, before)
    for config in (t.config for t in past.values() if t.config.seed in data):
        if (now := data[config.seed].digest[:SPLIT_HASH]) != config.split_hash:
            raise DataError(
                f"{config.trial_id} was given other images or classes than its data has now: "
                f"shots/tasks-{config.split_hash}.jsonl and tasks-{now}.jsonl of the study "
                "list both; put the dataset, or its split file, back as it was"
            )
    return past


def left(past: Mapping[str, Past], wanted: Iterable[TrialConfig]) -> list[TrialConfig]:
    """Return the trials that have not ended: those that have started first."""
    return [
        *(trial.config for trial in past.values() if trial.end is None),
        *(config for config in wanted if config.trial_id not in past),
    ]
