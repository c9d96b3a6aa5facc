"""The trials of a stage that a study's folder holds, and those that are left to train."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from study.errors import DataError
from study.search.observers import Observers, notify
from study.search.recording import (
    close_trial,
    drop_reports_beyond_state,
    validation_scores,
)
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import End, TrialFolder
from study.trial.study import SPLIT_HASH, Stage, Study, TrialConfig, TrialData

DataBySeed = Mapping[int, TrialData]
"""The data of trials, by seed."""
DataByStage = Mapping[Stage, DataBySeed]
"""The data of trials, by stage and seed."""


class Recorded(NamedTuple):
    """A trial that a study's folder holds."""

    folder: TrialFolder
    config: TrialConfig
    end: End | None
    """How it ended; None while it has not."""
    reports: Sequence[JsonObject]
    before: End | None
    """How it had ended before it was reopened; see `TrialFolder.read_earlier_end`."""

    @property
    def scores(self) -> dict[int, float]:
        """The validation scores by epoch, as fractions."""
        return validation_scores(self.reports)


def read_recorded(
    study: Study, stage: Stage, data: DataBySeed, observers: Observers
) -> dict[str, Recorded]:
    """Return the trials of a stage that a study's folder holds, by id, and repair unfinished ones.

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
    recorded = {}
    for folder, contents in study.folder.trials_of(stage):
        config = TrialConfig.model_validate(contents)
        recorded[config.trial_id] = _read_one(folder, config, observers)
    for trial in recorded.values():
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
    return recorded


def _read_one(folder: TrialFolder, config: TrialConfig, observers: Observers) -> Recorded:
    """Return a trial after its repair; see `read_recorded`."""
    end = folder.read_end()
    if end:
        return Recorded(folder, config, end, folder.read_reports(), None)
    drop_reports_beyond_state(folder)
    before = folder.read_earlier_end()
    reports = folder.read_reports()
    trial = Recorded(folder, config, None, reports, before)
    last = before or End("finished", config.epochs, 0.0)
    if reports and reports[-1]["epoch"] >= last.epochs:
        return close_recorded(trial, last, observers)
    return trial


def close_recorded(trial: Recorded, end: End, observers: Observers) -> Recorded:
    """Close a trial that no worker trains, and return it as one that has ended."""
    end = replace(end, seconds=sum(report["seconds"] for report in trial.reports))
    close_trial(trial.folder, end, keep_state=trial.config.stage == "search")
    score = trial.reports[-1].get("val_score") if trial.reports else None
    notify(observers, lambda o: o.trial_ended(trial.config, end, score))
    return trial._replace(end=end)
