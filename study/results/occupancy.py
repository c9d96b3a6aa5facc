"""The share of a stage's time that its slots spent on training and evaluation.

The time counts from the first epoch to the last, as the start of Ray and of its workers leaves no
trace in a study.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from study.results.trial_results import TrialResult

PAUSE = 60.0
"""The seconds without any work after which a study counts as interrupted, not as slow."""


class Occupancy(NamedTuple):
    """How the slots of one stage spent their time."""

    trials: int
    """The number of trials that ran in the stage."""
    slots: int
    """The largest number of trials that worked at once."""
    wall: float
    """The seconds from the first work to the last, without interruptions."""
    busy: float
    """The seconds of training and evaluation, summed over all slots."""

    @property
    def share(self) -> float:
        """The share of the slots' time that was training and evaluation."""
        return self.busy / (self.slots * self.wall)


def occupancy(trials: Iterable[TrialResult]) -> Occupancy | None:
    """Measure the occupancy of a stage; return None if nothing has trained in it.

    The moments at which epochs begin and end are passed in order, counting the trials that work.

    Args:
        trials: the trials of the stage.
    """
    number = 0
    moments = []
    for trial in trials:
        if trial.work:
            number += 1
            for begin, end in trial.work:
                moments += [(begin, 1), (end, -1)]
    if not moments:
        return None
    moments.sort()
    slots = working = 0
    wall = busy = 0.0
    for (now, change), (later, _) in pairwise(moments):
        working += change
        seconds = later - now
        if seconds > 0 and (working or seconds <= PAUSE):
            slots = max(slots, working)
            wall += seconds
            busy += seconds * working
    return Occupancy(trials=number, slots=slots, wall=wall, busy=busy)
