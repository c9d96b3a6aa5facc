"""End hung workers, which neither report nor exit.

A worker exits by itself when an epoch takes too long. It cannot if its process was stopped or its
machine does not answer. So the driver ends it some time later, and Ray starts another one, which
continues the trial.
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
class HungWorkers:
    """The workers that are silent for longer than an epoch may take.

    Args:
        limit: how many seconds an epoch may take; None means that no worker is ever ended.
    """

    limit: float | None
    ended: set[str] = field(default_factory=set)
    """Tune's ids of the trials whose workers were ended and that have not reported since."""
    _signs_of_life: dict[str, tuple[Trial, float]] = field(default_factory=dict)
    """The running trials by Tune's id, each with the time of its last sign of life."""

    def record_sign_of_life(self, trial: Trial) -> None:
        """Record that a trial has begun, or that an epoch of it has ended."""
        self._signs_of_life[trial.trial_id] = trial, time.monotonic()
        self.ended.discard(trial.trial_id)

    def remove(self, trial: Trial) -> None:
        """Remove a trial that has ended."""
        self._signs_of_life.pop(trial.trial_id, None)

    def end(self) -> None:
        """End the workers that have been silent for too long."""
        if self.limit is None:
            return
        allowed = self.limit + atomic.WAIT_SECONDS + GRACE
        for trial, last_sign in [*self._signs_of_life.values()]:
            actor = worker_of(trial)
            if actor is not None and time.monotonic() - last_sign > allowed:
                self.remove(trial)
                self.ended.add(trial.trial_id)
                ray.kill(actor)
