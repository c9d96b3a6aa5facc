"""How much of a search's time its slots trained and evaluated, from its first epoch to its last.

What comes before, the start of Ray and of its workers, leaves no trace in a study.
Run as `python -m study.analysis.occupancy runs/NAME`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from study.analysis.results import open_study
from study.errors import StudyError

PAUSE = 60.0
"""Seconds without any work after which a study was interrupted, not slow."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Occupancy:
    """Of one stage.

    Attributes:
        trials: that ran in it.
        slots: most trials that ever worked at once.
        wall: seconds from the first work to the last, interruptions left out.
        busy: seconds of training and evaluation, over all slots.
        within: seconds between the epochs of a trial, over all slots.
        edges: seconds of slots that had not begun yet, or had nothing left to do.
    """

    trials: int
    slots: int
    wall: float
    busy: float
    within: float
    edges: float

    @property
    def share(self) -> float:
        """Of the slots' time that was training and evaluation."""
        return self._of_all(self.busy)

    def __str__(self) -> str:
        """Say how much, and where the rest went."""
        slots = "one slot" if self.slots == 1 else f"{self.slots} slots"
        between = self.slots * self.wall - self.busy - self.within - self.edges
        return (
            f"{self.trials} trials in {self.wall:.0f} s on {slots}: {self.share:.0%} of it was "
            f"training and evaluation. Beside that, {self._of_all(self.within):.0%} went between "
            "the epochs of a trial (writing results, asking whether to go on), "
            f"{self._of_all(between):.0%} between trials (proposing, setting up), and "
            f"{self._of_all(self.edges):.0%} before the last slot had begun and after the first "
            "had nothing left to do. Before its first epoch, Ray and its workers started."
        )

    def _of_all(self, seconds: float) -> float:
        return seconds / (self.slots * self.wall)


def occupancy(folder: Path, stage: str = "search") -> Occupancy | None:
    """Measure a stage of a study; None where nothing in it has trained.

    Raises:
        DataError: the folder holds no study.
    """
    work: list[list[Interval]] = []
    for trial in open_study(folder).trials():
        config = trial.config
        if config["stage"] != stage or config.get("taken_from"):
            continue
        # Studies from before the reports had times have none to count.
        epochs = [report for report in trial.reports if "ended_at" in report]
        if epochs:
            work.append([(r["ended_at"] - r["seconds"], r["ended_at"]) for r in epochs])
    return _measure(work) if work else None


def _measure(work: Sequence[Sequence[Interval]]) -> Occupancy:
    """Walk through the moments at which an epoch or a trial begins or ends."""
    changes = sorted(
        change
        for epochs in work
        for change in (
            # Not the first's and the last's: another worker's clock may be behind.
            (min(begin for begin, _ in epochs), 0, 1),
            (max(end for _, end in epochs), 0, -1),
            *((begin, 1, 0) for begin, _ in epochs),
            *((end, -1, 0) for _, end in epochs),
        )
    )
    spans: list[tuple[float, int, int]] = []
    """Seconds, epochs under way, trials under way; without interruptions."""
    working = running = 0
    for (at, work_change, run_change), (then, *_) in pairwise([*changes, changes[-1]]):
        working, running = working + work_change, running + run_change
        if then > at and (working or then - at <= PAUSE):
            spans.append((then - at, working, running))
    slots = max(working for _, working, _ in spans)
    # By clocks that disagree a trial's epochs may overlap, so that no span counts as full.
    full = [n for n, (*_, running) in enumerate(spans) if running >= slots] or range(len(spans))
    wall = sum(seconds for seconds, _, _ in spans)
    return Occupancy(
        trials=len(work),
        slots=slots,
        wall=wall,
        busy=sum(seconds * working for seconds, working, _ in spans),
        within=sum(s * (min(running, slots) - working) for s, working, running in spans),
        edges=sum(
            seconds * (slots - running)
            for n, (seconds, _, running) in enumerate(spans)
            if not full[0] <= n <= full[-1]
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a study's occupancy, stage by stage; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m study.analysis.occupancy", description="How busy a study's slots were."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, runs/NAME")
    options = parser.parse_args(arguments)
    try:
        for stage in ("search", "confirm", "ablation"):
            if (found := occupancy(options.folder, stage)) is not None:
                print(f"{stage}: {found}")
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
