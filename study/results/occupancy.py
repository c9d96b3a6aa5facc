"""The share of a stage's time that its slots spent on training and evaluation.

The time counts from the first epoch to the last, as the start of Ray and of its workers leaves no
trace in a study.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from study.results.trial_results import TrialResult

PAUSE = 60.0
"""The seconds without any work after which a study counts as interrupted, not as slow."""


@dataclass(frozen=True)
class Occupancy:
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


def occupancy(trials: Iterable[TrialResult], stage: str = "search") -> Occupancy | None:
    """Measure the occupancy of a stage of a study; return None if nothing has trained in it.

    It goes through the moments at which an epoch begins or ends.

    Args:
        trials: the trials of the study.
        stage: the stage: "search", "confirm" or "ablation".
    """
    work = [t.work for t in trials if t.stage == stage and not t.taken_from and t.work]
    if not work:
        return None
    moments = [(begin, 1) for epochs in work for begin, _ in epochs]
    moments += [(end, -1) for epochs in work for _, end in epochs]
    moments.sort()
    slots = working = 0
    wall = busy = 0.0
    for (at, change), (then, _) in pairwise(moments):
        working += change
        seconds = then - at
        if seconds > 0 and (working or seconds <= PAUSE):
            slots = max(slots, working)
            wall += seconds
            busy += seconds * working
    return Occupancy(trials=len(work), slots=slots, wall=wall, busy=busy)
