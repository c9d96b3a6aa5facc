"""The progress of a study: a line for each stage with trials, and one for each other step."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from study.process.terminal_table import PIPED, print_unwrapped
from study.report.formatting import duration, percent
from study.report.setting_descriptions import settings_in_words
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

QUIET_SECONDS = 10.0
"""The shortest time between two lines if the output is not a terminal."""
STAGE = 8
"""The number of characters of the longest name of a stage."""
BAR, LEAST_BAR = 20, 6
"""The most and the fewest characters of the bar of a stage."""
NAME, LEAST_NAME = 46, 14
"""The most and the fewest characters of a subset's name in the line of a stage."""


class StageProgress:
    """An observer of one stage: a live line on a terminal, else one now and then.

    Args:
        console: where the line is shown.
        stage: the name of the stage.
        total: the number of trials of the stage.
        done: the number of trials that had ended before.
    """

    def __init__(self, console: Console, stage: str, total: int, done: int = 0) -> None:
        self._console = console
        self._stage = stage
        self._title = f"{stage:<{STAGE}} "
        self._total = total
        self._counts = {"finished": done, "stopped": 0, "failed": 0}
        self._already_done = done
        self._running: set[str] = set()
        self._best: tuple[float, str] | None = None
        self._answers: set[str] = set()
        self._limit: float | None = None
        self._started_at = time.monotonic()
        self._printed_at = 0.0
        self._live = Live(self, console=console, refresh_per_second=4)

    def __enter__(self) -> "StageProgress":
        if self._console.is_interactive:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_interactive:
            self._live.stop()
        else:
            self._show(at_once=True)

    def __rich__(self) -> Text:
        """Return the stage, a bar where there is room for one, and how far the stage is."""
        room = self._console.width - STAGE - 1
        text = Text(self._title, style="bold", no_wrap=True)
        bar = min(BAR, room - len(self.summary()) - 1)
        if bar >= LEAST_BAR:
            room -= bar + 1
            filled = round(bar * self._done / max(1, self._total))
            text.append("━" * filled, style="bar.complete")
            text.append("━" * (bar - filled) + " ", style="bar.back")
        return text.append(self.line(room), style="not bold")

    @property
    def _done(self) -> int:
        """The number of trials that have ended."""
        return sum(self._counts.values())

    def limit(self, seconds: float | None) -> None:
        """Limit the time of the stage, for the estimate of the time left.

        Args:
            seconds: the longest time from now on; None means no limit.
        """
        passed = time.monotonic() - self._started_at
        self._limit = None if seconds is None else passed + seconds

    def trial_started(self, config: TrialConfig) -> None:
        """See `study.search.observers.Observer`."""
        self._running.add(config.trial_id)
        # More trials than expected may start, and the line must not count beyond the total.
        self._total = max(self._total, self._done + len(self._running))
        self._show()

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """See `study.search.observers.Observer`."""
        self._show()

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `study.search.observers.Observer`."""
        self._running.discard(config.trial_id)
        self._counts[end.status] += 1
        if end.status == "finished" and score is not None and self._stage == "search":
            ended = (score, settings_in_words(config.settings))
            if self._best is None or ended > self._best:
                self._best = ended
            self._print_answer(config, score)
        self._show()

    def _print_answer(self, config: TrialConfig, score: float) -> None:
        """Print the score of a baseline, or the first one of a peer whose rate is searched."""
        name = config.group
        if name == "baseline":
            name = config.label
        elif config.settings.peer is None:
            return
        if name in self._answers:
            return
        self._answers.add(name)
        answer = f"{self._title}{name} {percent(score)} % on validation"
        print_unwrapped(self._console, answer)

    def summary(self) -> str:
        """Return what matters most: how many trials are done, the best score, and the time left."""
        phrases = [f"{self._done}/{self._total} done"]
        if self._best is not None:
            phrases.append(f"best {self._best[0]:.1%}")
        seconds = self._seconds_left()
        if seconds is not None:
            phrases.append(f"{duration(seconds)} left")
        return " · ".join(phrases)

    def line(self, width: int) -> str:
        """Return how far the stage is: what matters most first, and the best subset last.

        Args:
            width: the number of characters that there is room for. The name of the best subset is
                shortened to what is left of them, and nothing else.
        """
        line = self.summary()
        counts = {"running": len(self._running), **self._counts}
        del counts["finished"]
        for status, number in counts.items():
            count = f" · {number} {status}"
            if (number or status == "running") and len(line + count) <= width:
                line += count
        if self._best is None:
            return line
        room = min(NAME, width - len(line) - 3)
        if room < LEAST_NAME:
            return line
        name = f"best: {self._best[1]}"
        if len(name) > room:
            name = f"{name[: room - 1]}…"
        return f"{line} · {name}"

    def _seconds_left(self) -> float | None:
        """Return the seconds until the stage ends; None if they are unknown, and at its end."""
        ended_here = self._done - self._already_done
        remaining = self._total - self._done
        if not ended_here or remaining <= 0:
            return None
        passed = time.monotonic() - self._started_at
        seconds = passed / ended_here * remaining
        if self._limit is not None:
            seconds = min(seconds, max(0.0, self._limit - passed))
        return seconds

    def _show(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        due = at_once or now - self._printed_at > QUIET_SECONDS
        if due and not self._console.is_interactive:
            self._printed_at = now
            print_unwrapped(self._console, self._title + self.line(PIPED))


class Steps:
    """The steps without trials: a moving line on a terminal, and a printed line each elsewhere.

    It is called with each step as it begins. At the end of its block as a context manager, the line
    on a terminal stops.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line: Status | None = None

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.stop()
            self._line = None

    def __call__(self, step: str) -> None:
        """Show a step, such as “drawing the charts”."""
        if not self._console.is_interactive:
            print_unwrapped(self._console, f"{'finish':<8} {step}")
        elif self._line is None:
            self._line = self._console.status(escape(step))
            self._line.start()
        else:
            self._line.update(escape(step))
