"""The limit of the time that a search may take."""

import time
from dataclasses import dataclass, field
from typing import Any

Result = dict[str, Any]
"""What a trial reports to Tune after an epoch."""
GRACE = 60.0
"""The seconds after the end of the time within which a trial may still finish."""


@dataclass
class Deadline:
    """The end of the time of a search.

    Args:
        seconds: how long the search may still take.
    """

    seconds: float
    epoch_seconds: float = 0.0
    """How long the last epoch of any trial took."""
    stopped_ids: set[str] = field(default_factory=set)
    """Tune's ids of the trials that were stopped because the time was over."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """The seconds until the time is over; negative afterwards."""
        return self.seconds - (time.monotonic() - self._began)

    @property
    def allows_another(self) -> bool:
        """Whether there is time for the first epoch of another trial."""
        return self.seconds_left > self.epoch_seconds

    def must_stop(self, trial_id: str, epochs_left: int, epoch_seconds: float) -> bool:
        """Return whether a trial must stop now, and record its id if so.

        While there is time, a trial goes on unless its next epoch would end after the grace.
        Afterwards it goes on if all its epochs would end within the grace.

        Args:
            trial_id: Tune's id of the trial.
            epochs_left: the number of its epochs that are left.
            epoch_seconds: how long its last epoch took.
        """
        self.epoch_seconds = epoch_seconds
        seconds_left = self.seconds_left
        if seconds_left > 0:
            epochs_left = 1
        if seconds_left + GRACE >= epochs_left * epoch_seconds:
            return False
        self.stopped_ids.add(trial_id)
        return True
