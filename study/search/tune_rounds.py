"""The rounds of a study as one run of Tune, whose workers stay from one round to the next."""

from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from study.search.ray_internals import keep_idle_workers
from study.search.scheduler import Result
from study.search.searcher import Rounds
from study.search.study_callback import StudyCallback
from study.search.trainable import DATA


class RoundSearcher(Searcher):
    """The trials of one round after another, as Tune asks for them.

    Args:
        callback: the callback, which has the first round, and gets the others as they begin.
        rounds: the further rounds.
    """

    def __init__(self, callback: StudyCallback, rounds: Rounds) -> None:
        super().__init__(metric="score", mode="max")
        self.is_over = False
        """Whether all trials of all rounds have ended."""
        self._rounds = rounds
        self._callback = callback
        self._data = ray.put(callback.round.data)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's `TrialConfig` as a mapping, with the reference to its data.

        Return None while the last trials of a round run, and ``Searcher.FINISHED`` after all.
        """
        while not self.is_over:
            searcher = self._callback.round.searcher
            config = searcher.suggest(trial_id)
            if config:
                return {**config.model_dump(mode="json"), DATA: self._data}
            if searcher.running:
                return None
            following = next(self._rounds, None)
            if following is None:
                self.is_over = True
            else:
                self._callback.round = following
                self._data = ray.put(following.data)
        return Searcher.FINISHED

    def on_trial_complete(
        self, trial_id: str, result: Result | None = None, error: bool = False
    ) -> None:
        """Do nothing: `StudyCallback` receives how a trial ended."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing for Tune's own snapshot of the experiment, which is never read."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study's folder holds everything."""


class RoundScheduler(FIFOScheduler):
    """The scheduler of the round that is running.

    Args:
        callback: the callback, which has the round.
        workers: how many workers stay while a round ends; None means that Tune decides.
    """

    def __init__(self, callback: StudyCallback, workers: int | None) -> None:
        super().__init__()
        self._callback = callback
        self._workers = workers

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Keep the workers of a round, of which all trials need the same, for the next one."""
        if self._workers:
            keep_idle_workers(tune_controller, trial, self._workers)
            self._workers = None

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Result) -> str:
        """Return whether the trial continues or stops after a result."""
        current = self._callback.round
        config = current.searcher.running[trial.trial_id]
        return str(self.STOP if current.scheduler.stops(config, result) else self.CONTINUE)
