"""Run the trials of a study in this process, without the workers of Ray and Tune."""

from dataclasses import dataclass, field

from study.search.scheduler import Result
from study.search.searcher import Rounds
from study.search.study_callback import StudyCallback
from study.search.trial_worker import TrialWorker
from study.trial.study import Study


@dataclass
class RunningTrial:
    """A trial in this process, with what the callback reads of one of Tune's."""

    trial_id: str = "running"
    last_result: Result = field(default_factory=dict)


def run_in_process(study: Study, rounds: Rounds) -> None:
    """Run all trials of a study's rounds to their ends in this process, one after the other.

    Nothing replaces a process that fails, and ``resources.max_epoch_seconds``, which would end this
    one, has no effect.

    Raises:
        DeviceError: the device failed; a resume continues the trial.
        StorageError: the study's folder cannot be read or written.
    """
    unlimited = study.config.with_section("resources", max_epoch_seconds=None)
    worker = TrialWorker(study.folder, unlimited)
    for one in rounds:
        callback = StudyCallback(one)
        trial = RunningTrial()  # there is one at a time
        while config := one.searcher.suggest(trial.trial_id):
            worker.start(config, one.data)
            callback.on_trial_start(trial)
            is_over = False
            while not is_over:
                result = trial.last_result = worker.step()
                is_over = result["done"] or one.scheduler.stops(config, result)
                callback.on_trial_result(trial, result)
            callback.on_trial_complete(trial)
            callback.on_step_end()
