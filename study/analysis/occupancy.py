"""How much of a search's time its slots trained and evaluated.

Run as `python -m study.analysis.occupancy runs/NAME`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
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
    """

    trials: int
    slots: int
    wall: float
    busy: float

    @property
    def share(self) -> float:
        """Of the slots' time that was training and evaluation."""
        return self.busy / (self.slots * self.wall)

    def __str__(self) -> str:
        """Say it in a sentence, and where the rest went."""
        slots = "one slot" if self.slots == 1 else f"{self.slots} slots"
        return (
            f"{self.trials} trials in {self.wall:.0f} s on {slots}: {self.share:.0%} of it was "
            "training and evaluation. The rest was starting workers, writing results, proposing "
            "trials and waiting for the last ones."
        )


def occupancy(folder: Path, stage: str = "search") -> Occupancy | None:
    """Measure a stage of a study; None where nothing in it has trained.

    Raises:
        DataError: the folder holds no study.
    """
    work: list[Interval] = []
    trials = 0
    for trial in open_study(folder).trials():
        config = trial.config
        if config["stage"] != stage or config.get("taken_from"):
            continue
        # Studies from before the reports had times have none to count.
        epochs = [report for report in trial.reports if "ended_at" in report]
        work += [(report["ended_at"] - report["seconds"], report["ended_at"]) for report in epochs]
        trials += bool(epochs)
    if not work:
        return None
    busy = sum(end - begin for begin, end in work)
    return Occupancy(trials, _most_at_once(work), _wall(work), busy)


def _most_at_once(work: Sequence[Interval]) -> int:
    changes = sorted([(begin, 1) for begin, _ in work] + [(end, -1) for _, end in work])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def _wall(work: Sequence[Interval]) -> float:
    """Span the work, without pauses."""
    ordered = sorted(work)
    wall, (begin, end) = 0.0, ordered[0]
    for next_begin, next_end in ordered[1:]:
        if next_begin - end > PAUSE:
            wall += end - begin
            begin = next_begin
        end = max(end, next_end)
    return wall + end - begin


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
