"""What stands in for Tune where it is not the subject: trials within the process of a test."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

from study.search.ledger_callback import LedgerCallback, Observers
from study.search.searcher import StudySearcher
from study.search.trainable import ClipFitTrainable, WorkerSettings
from study.trial import TrialData
from study.trial.study import Study


def run_trials(
    study: Study,
    searcher: StudySearcher,
    *,
    data: Mapping[str, TrialData],
    count: int,
    observers: Observers,
    **_: Any,
) -> None:
    """Do as `study.search.driver.run_trials` does, with one trial after the other to its end."""
    worker = WorkerSettings(study.folder.path, study.config.backbone, 1, None)
    callback = LedgerCallback(searcher, observers, None)
    trainable = object.__new__(ClipFitTrainable)
    for number in range(count):
        trial = Mock(trial_id=str(number), last_result={})
        config = searcher.suggest(trial.trial_id)
        if not isinstance(config, dict):
            return
        trainable.setup(config, worker=worker, data=data, siblings=searcher.siblings)
        callback.on_trial_start(0, [], trial)
        while not trial.last_result.get("done"):
            trial.last_result = trainable.step()
            searcher.on_trial_result(trial.trial_id, trial.last_result)
            callback.on_trial_result(0, [], trial, trial.last_result)
        callback.on_trial_complete(0, [], trial)
