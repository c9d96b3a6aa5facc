"""The share of a stage's time that its slots spent on training and evaluation.

The time counts from the first epoch to the last, as the start of Ray and of its workers leaves no
trace in a study.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from study.analysis.results import TrialResult

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
    within: float
    """The seconds between the epochs of a trial, summed over all slots."""
    edges: float
    """The seconds of slots before their first trial or after their last, summed over all slots."""

    @property
    def share(self) -> float:
        """The share of the slots' time that was training and evaluation."""
        return self.busy / (self.slots * self.wall)

    def __str__(self) -> str:
        """Return sentences on the share of work and on where the other time went."""
        slots = "one at a time" if self.slots == 1 else f"{self.slots} at a time"
        time = self.slots * self.wall
        trials = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return (
            f"{trials} in {self.wall:.0f} s, {slots}: {self.share:.0%} of the time was training "
            f"and evaluation. Beside that, {self.within / time:.0%} went between "
            "the epochs of a trial (writing results, asking whether to go on), "
            f"{(time - self.busy - self.within - self.edges) / time:.0%} between trials "
            "(proposing, setting up), and "
            f"{self.edges / time:.0%} idle at start and end. Before the first epoch, Ray and its "
            "workers started."
        )


def occupancy(trials: Iterable[TrialResult], stage: str = "search") -> Occupancy | None:
    """Measure the occupancy of a stage of a study; return None if nothing has trained in it.

    It goes through the moments at which an epoch or a trial begins or ends.

    Args:
        trials: the trials of the study.
        stage: the stage: "search", "confirm" or "ablation".
    """
    work = [t.work for t in trials if t.stage == stage and not t.taken_from and t.work]
    if not work:
        return None
    changes = sorted(
        change
        for epochs in work
        for change in (
            # The extremes need not be the first and the last epoch: workers' clocks may differ.
            (min(begin for begin, _ in epochs), 0, 1),
            (max(end for _, end in epochs), 0, -1),
            *((begin, 1, 0) for begin, _ in epochs),
            *((end, -1, 0) for _, end in epochs),
        )
    )
    # Seconds, epochs under way and trials under way of each span that is no interruption.
    spans: list[tuple[float, int, int]] = []
    working = running = 0
    for (at, work_change, run_change), (then, *_) in pairwise([*changes, changes[-1]]):
        working, running = working + work_change, running + run_change
        if then > at and (working or then - at <= PAUSE):
            spans.append((then - at, working, running))
    slots = max(working for _, working, _ in spans)
    # If clocks differ, a trial's epochs may overlap, and no span may be full: then all count.
    full = [n for n, (*_, running) in enumerate(spans) if running >= slots] or range(len(spans))
    return Occupancy(
        trials=len(work),
        slots=slots,
        wall=sum(seconds for seconds, _, _ in spans),
        busy=sum(seconds * working for seconds, working, _ in spans),
        within=sum(s * (min(running, slots) - working) for s, working, running in spans),
        edges=sum(
            seconds * (slots - running)
            for n, (seconds, _, running) in enumerate(spans)
            if not full[0] <= n <= full[-1]
        ),
    )
