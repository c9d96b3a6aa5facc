"""The trials of a stage that a study's folder holds, and those that are left to train."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.errors import DataError
from study.search.checkpoints import HANG, restore_reports_of_state, save_deltas_of_state
from study.search.observers import Observers, notify
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import End, Status, TrialFolder
from study.trial.study import SPLIT_HASH, Stage, Study, TrialConfig, TrialData

DataBySeed = Mapping[int, TrialData]
"""The data of trials, by seed."""
DataByStage = Mapping[Stage, DataBySeed]
"""The data of trials, by stage and seed."""


class RecordedTrial(NamedTuple):
    """A trial that a study's folder holds."""

    folder: TrialFolder
    config: TrialConfig
    end: End | None
    """How it ended; None while it has not."""
    reports: Sequence[JsonObject]
    earlier_end: End | None
    """How it had ended before it was reopened; see `TrialFolder.read_earlier_end`."""

    @property
    def scores(self) -> dict[int, float]:
        """The validation scores by epoch, as fractions."""
        return {one["epoch"]: one["val_score"] for one in self.reports if "val_score" in one}


def read_recorded_trials(
    study: Study, stage: Stage, data: DataBySeed, observers: Observers
) -> dict[str, RecordedTrial]:
    """Return the trials of a stage that a study's folder holds, by id, and repair unfinished ones.

    The reports of an unfinished trial become those of its state. If it has all its reports, as
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
                f"the dataset has changed since trial {trial.config.trial_id}; compare "
                f"shots/tasks-{before}.jsonl with tasks-{now}.jsonl in the study's folder, and "
                "restore the dataset or its split file"
            )
    return recorded


def _read_one(folder: TrialFolder, config: TrialConfig, observers: Observers) -> RecordedTrial:
    """Return a trial after its repair; see `read_recorded_trials`."""
    end = folder.read_end()
    if end:
        return RecordedTrial(folder, config, end, folder.read_reports(), None)
    restore_reports_of_state(folder)
    earlier_end = folder.read_earlier_end()
    reports = folder.read_reports()
    trial = RecordedTrial(folder, config, None, reports, earlier_end)
    last = earlier_end or End("finished", config.epochs, 0.0)
    if reports and reports[-1]["epoch"] >= last.epochs:
        return close_trial(trial, observers, last.status, reason=last.reason)
    return trial


def close_trial(
    trial: RecordedTrial, observers: Observers, status: Status, **cause: Any
) -> RecordedTrial:
    """Close a trial on disk, notify the observers, and return it as one that has ended.

    If it was stopped early, its deltas are saved, and a search keeps its state, since it may go on.

    Args:
        trial: the trial, with all its reports.
        observers: the listeners that are notified.
        status: how it ended.
        cause: the fields of `End` that say why.
    """
    last = trial.reports[-1] if trial.reports else {}
    seconds = sum(report["seconds"] for report in trial.reports)
    end = End(status, last.get("epoch", 0), seconds, **cause)
    is_stopped = status == "stopped"
    if is_stopped and trial.config.settings.writes_delta:
        save_deltas_of_state(trial.folder)
    trial.folder.write_end(end, keep_state=is_stopped and trial.config.stage == "search")
    (trial.folder.path / HANG).unlink(missing_ok=True)
    notify(observers, lambda o: o.trial_ended(trial.config, end, last.get("val_score")))
    return trial._replace(end=end)
