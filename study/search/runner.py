"""What runs the trials of a study: Tune (`driver.py`) or, without Ray's workers, this process."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from ray.tune.schedulers import TrialScheduler

from study.search.scheduler import Result
from study.search.searcher import Rounds
from study.search.study_callback import StudyCallback
from study.search.trial_worker import TrialWorker
from study.trial.study import Study, TrialConfig


class Runner(Protocol):
    """A function that runs trials to their ends, such as `study.search.driver.run_trials`."""

    def __call__(self, study: Study, rounds: Rounds) -> None:
        """Run all trials of a study's rounds to their ends, one round after the other."""


@dataclass
class RunningTrial:
    """A trial in this process, with what scheduler and callback read of one of Tune's."""

    trial_id: str
    config: dict[str, Any]
    last_result: Result = field(default_factory=dict)


def run_in_process(study: Study, rounds: Rounds) -> None:
    """Run trials one after the other in this process; see `Runner`.

    Nothing replaces a process that fails, and ``resources.max_epoch_seconds``, which would end this
    one, has no effect.

    Raises:
        DeviceError: the device failed; a resume continues the trial.
        StorageError: the study's folder cannot be read or written.
    """
    unlimited = study.config.with_section("resources", max_epoch_seconds=None)
    worker = TrialWorker(study.folder, unlimited)
    numbers = count()
    for one in rounds:
        callback = StudyCallback(one)
        while config := one.searcher.suggest(trial_id := str(next(numbers))):
            trial = RunningTrial(trial_id, config)
            worker.start(TrialConfig.model_validate(config), one.data)
            callback.on_trial_start(trial)
            is_over = False
            while not is_over:
                result = trial.last_result = worker.step()
                is_over = result["done"]
                if not is_over:
                    decision = one.scheduler.on_trial_result(None, trial, result)
                    is_over = decision == TrialScheduler.STOP
                callback.on_trial_result(trial, result)
            callback.on_trial_complete(trial)
            callback.on_step_end()
