"""End workers that neither report nor end, since a frozen process cannot enforce its own limit.

The driver ends a stopped process, or one whose machine does not answer, some time after it should
have ended itself. Ray then starts another one, which continues the trial.
"""

import time
from dataclasses import dataclass, field

import ray
from ray.tune.experiment import Trial

from study.search.ray_internals import worker_of
from study.storage import atomic

GRACE = 30.0
"""The seconds that a worker has beyond its limit and the time that it may wait for storage."""


@dataclass
class FrozenWorkers:
    """The workers that are silent for longer than an epoch may take.

    Args:
        limit: how many seconds an epoch may take; None means that no worker is ever ended.
    """

    limit: float | None
    ended: set[str] = field(default_factory=set)
    """Tune's ids of the trials whose workers were ended and that have not reported since."""
    _heard: dict[str, tuple[Trial, float]] = field(default_factory=dict)
    """The running trials by Tune's id, each with the time of its last sign of life."""

    def hear(self, trial: Trial) -> None:
        """Note that a trial has begun, or that an epoch of it has ended."""
        self._heard[trial.trial_id] = trial, time.monotonic()
        self.ended.discard(trial.trial_id)

    def forget(self, trial: Trial) -> None:
        """Note that a trial has ended."""
        self._heard.pop(trial.trial_id, None)

    def end(self) -> None:
        """End the workers that have been silent for too long."""
        if self.limit is None:
            return
        allowed = self.limit + atomic.WAIT_SECONDS + GRACE
        for trial, heard in [*self._heard.values()]:
            actor = worker_of(trial)
            if actor is not None and time.monotonic() - heard > allowed:
                self.forget(trial)
                self.ended.add(trial.trial_id)
                ray.kill(actor)
