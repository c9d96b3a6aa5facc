"""Trials one after the other in the process of a test: a loop of their own, in place of Tune.

Each stage of a study starts a worker, which takes seconds. So what is no question of Ray is asked
here, such as the final training; `tests/search/test_run_test.py` compares it with trials by Tune.
A final training by Tune is in the long test `tests/test_first_hour.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
from ray.tune.schedulers import TrialScheduler

from study.search import steps
from study.search.observers import Observers
from study.search.recorded import DataByStage
from study.search.searcher import StudySearcher
from study.search.study_callback import StudyCallback
from study.search.trainable import ClipFitTrainable
from study.trial.study import Study


@contextmanager
def trials_in_process() -> Iterator[None]:
    """Run the trials of studies within this process, one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "run_trials", _run_trials)
        yield


def _run_trials(
    study: Study,
    searcher: StudySearcher,
    *,
    data: DataByStage,
    scheduler: TrialScheduler,
    count: int,
    observers: Observers,
):
    """Do as `study.search.driver.run_trials`."""
    callback = StudyCallback(searcher, observers)
    trainable = object.__new__(ClipFitTrainable)
    for number in range(count):
        config = searcher.suggest(str(number))
        if not isinstance(config, dict):
            return
        trial = Mock(trial_id=str(number), config=config, last_result={})
        trainable.setup(config, folder=study.folder.path, settings=study.config, data=data)
        scheduler.on_trial_add(None, trial)
        callback.on_trial_start(trial)
        goes_on = True
        while goes_on:
            result = trial.last_result = trainable.step()
            searcher.on_trial_result(trial.trial_id, result)
            decision = scheduler.on_trial_result(None, trial, result)
            callback.on_trial_result(trial, result)
            goes_on = not result["done"] and decision == TrialScheduler.CONTINUE
        callback.on_trial_complete(trial)
