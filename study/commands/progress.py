"""The progress of a study: a line for each stage with trials, and one for each other step."""

import math
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from study.report.formatting import duration
from study.report.setting_descriptions import settings_in_words
from study.report.terminal import print_unwrapped
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

QUIET_SECONDS = 30.0
"""The shortest time between two lines if the output is not a terminal."""


class StageProgress:
    """An observer of one stage: a live line on a terminal, else one now and then as trials end.

    Args:
        console: where the line is shown.
        stage: the name of the stage.
        total: the number of trials of the stage.
        done: the number of trials that had ended before.
    """

    def __init__(self, console: Console, stage: str, total: int, done: int = 0) -> None:
        self._console = console
        self._stage = stage
        self._total = total
        self._counts = {"finished": done, "stopped": 0, "failed": 0}
        self._running: set[str] = set()
        self._trained = 0
        self._best: tuple[float, str] | None = None
        self._started_at = time.monotonic()
        self._ends_at = math.inf
        self._printed_at, self._printed = -math.inf, ""
        columns = (
            TextColumn("[bold]{task.description:<8}"),
            BarColumn(20),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_interactive)
        self._task = self._bar.add_task(stage, text="")

    def __enter__(self) -> "StageProgress":
        self._bar.start()
        self._update()
        return self

    def __exit__(self, *_: object) -> None:
        self._update()
        self._bar.stop()
        self._print()

    def limit(self, seconds: float | None) -> None:
        """Limit the time left, to a number of seconds from now; None means no limit."""
        if seconds is not None:
            self._ends_at = min(self._ends_at, time.monotonic() + seconds)

    def trial_started(self, config: TrialConfig) -> None:
        """See `study.search.observers.Observer`."""
        self._running.add(config.trial_id)
        self._update()

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `study.search.observers.Observer`."""
        self._update()

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `study.search.observers.Observer`."""
        self._running.discard(config.trial_id)
        self._counts[end.status] += 1
        if config.epochs:  # the others take no time, and tell nothing of the rest
            self._trained += 1
            now, left = time.monotonic(), self._total - sum(self._counts.values())
            mean = (now - self._started_at) / self._trained
            self._ends_at = min(self._ends_at, now + left * mean)  # the time left never counts up
        # A best test would be a look at test scores.
        if end.status == "finished" and score is not None and self._stage == "search":
            ended = (score, settings_in_words(config.settings))
            self._best = max(self._best or ended, ended)
        self._update()
        if time.monotonic() - self._printed_at > QUIET_SECONDS:
            self._print()

    def line(self) -> str:
        """Return how far the stage is: what matters most first, and the best subset last."""
        done = sum(self._counts.values())
        phrases = [f"{done}/{self._total} done"]
        if self._best is not None:
            phrases.append(f"best {self._best[0]:.1%}")
        if self._trained and done < self._total:
            phrases.append(f"{duration(max(self._ends_at - time.monotonic(), 0))} left")
        phrases.append(f"{len(self._running)} running")
        phrases += [
            f"{self._counts[end]} {end}" for end in ("stopped", "failed") if self._counts[end]
        ]
        if self._best is not None:
            phrases.append(f"best: {self._best[1]}")
        return " · ".join(phrases)

    def _update(self) -> None:
        done = sum(self._counts.values())
        # More trials than expected may start, and the line must not count beyond the total.
        self._total = max(self._total, done + len(self._running))
        self._bar.update(self._task, total=self._total, completed=done, text=self.line())

    def _print(self) -> None:
        """Print the line for a file, unless it is the last one; a terminal has it already."""
        line = self.line()
        if line != self._printed and not self._console.is_interactive:
            self._printed_at, self._printed = time.monotonic(), line
            print_unwrapped(self._console, f"{self._stage:<8} {line}")


def print_step(console: Console, step: str) -> None:
    """Print a step without trials, such as “drawing the charts”, as it begins."""
    print_unwrapped(console, f"{'finish':<8} {step}")
