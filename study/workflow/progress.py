"""The progress of trials in the terminal: done, running, stopped, best so far, time left."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from study.storage.ledger import End
from study.trial import TrialConfig

QUIET_SECONDS = 10.0
"""The shortest time between two lines if the output is not a terminal."""


class StageProgress:
    """An observer of one stage: a live line on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, stage: str, total: int, done: int = 0) -> None:
        self._console = console
        self._stage = stage
        self._total = total
        self._counts = {"finished": done, "stopped": 0, "failed": 0}
        self._already_done = done
        self._running: set[str] = set()
        self._best = (0.0, "")
        self._started_at = time.monotonic()
        self._printed_at = 0.0
        self._bar = Progress(
            TextColumn(f"[bold]{stage:<8}"),
            BarColumn(24),
            TextColumn("{task.description}"),
            console=console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(self._line(), total=total, completed=done)

    def __enter__(self) -> StageProgress:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        else:
            self._show(at_once=True)

    def trial_started(self, config: TrialConfig) -> None:
        """See `study.search.searcher.Observer`."""
        self._running.add(config.trial_id)
        self._show()

    def trial_reported(self, config: TrialConfig, epoch: int, score: float | None) -> None:
        """See `study.search.searcher.Observer`."""
        self._show()

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `study.search.searcher.Observer`."""
        self._running.discard(config.trial_id)
        self._counts[end.status] += 1
        if end.status == "finished" and score is not None:
            self._best = max(self._best, (score, config.settings.subset))
        self._show()

    def _line(self) -> str:
        done = sum(self._counts.values())
        parts = [
            f"{done}/{self._total} done",
            f"{len(self._running)} running",
            *(f"{n} {status}" for status, n in self._counts.items() if n and status != "finished"),
        ]
        score, subset = self._best
        if subset and self._stage == "search":
            short = subset if len(subset) <= 40 else f"{subset[:37]}…"
            parts.append(f"best {score:.1%} {short}")
        if (own := done - self._already_done) and done < self._total:
            seconds = (time.monotonic() - self._started_at) / own * (self._total - done)
            left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
            parts.append(f"about {left} left")
        return " · ".join(parts)

    def _show(self, *, at_once: bool = False) -> None:
        line, now = self._line(), time.monotonic()
        self._bar.update(self._task, description=line, completed=sum(self._counts.values()))
        due = at_once or now - self._printed_at > QUIET_SECONDS
        if due and not self._console.is_terminal:
            self._printed_at = now
            self._console.print(f"{self._stage:<8} {line}", highlight=False, soft_wrap=True)
