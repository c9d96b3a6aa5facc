"""The interface of a tracker, which keeps results of studies outside of the studies' folders.

A call to a tracker may fail; `summarize_error` returns the reason as one short line.
"""
# ruff: noqa: B027  -- a tracker overrides only the methods that it needs

import socket
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from textwrap import shorten
from typing import Any, NamedTuple

from study.config.schema import StudyConfig
from study.errors import first_cause, redacted_text
from study.trial.study import Study, TrialConfig

LONGEST_CAUSE = 200
"""The largest number of characters of the line that `summarize_error` returns."""


class TrackerMessages(NamedTuple):
    """The lines that a tracker prints at the end of a study."""

    missing: str = ""
    """What could not be kept and why, see `describe_unsent`; empty if everything is kept."""
    hints: Sequence[tuple[str, str]] = ()
    """How to view the study in the tracker: pairs of a short word and a line."""


class Tracker(ABC):
    """A tracker of one study at a time; a subclass needs `start`, `trial_changed` and `close`.

    The constructor takes no arguments. Every result is in the study's folder before a tracker is
    called, so a tracker reads what it keeps there. Trials must not wait for a tracker: slow work
    belongs in a thread of the tracker. Only `check` and `start` may raise; other methods log their
    failures, or return them from `close`.
    """

    title = "the tracker"
    """The name of the tracker in messages; empty where nothing is kept."""

    def check(self, config: StudyConfig) -> None:
        """Check that the results of a study can be kept, before it starts; create nothing.

        Raises:
            StudyError: they cannot be kept; the message says why.
        """

    @abstractmethod
    def start(self, study: Study) -> None:
        """Begin or resume a study, whose folder may hold trials that were never sent.

        This method runs in another thread than the other methods, which are called after it has
        returned.

        Raises:
            StudyError: the results cannot be kept.
        """

    @abstractmethod
    def trial_changed(self, trial_id: str) -> None:
        """Keep what is new in a trial's folder: it began, has another epoch, or ended."""

    def register(self) -> None:
        """Put the study's best model into the tracker's registry of models, if it has one."""

    @abstractmethod
    def close(self, *, finished: bool) -> TrackerMessages:
        """Keep the remaining results, and stop; return what to print.

        Args:
            finished: whether the study ran to its end; otherwise it may be resumed.
        """


class TrackerObserver:
    """An observer of a search that passes the changes of its trials on to a tracker.

    Args:
        tracker: the tracker.
        start: the call of its `start`, until whose end changes wait; None means that it has ended.
    """

    def __init__(self, tracker: Tracker, start: Future[None] | None = None) -> None:
        self._tracker = tracker
        self._start = start
        self._changed = dict[str, None]()

    def trial_started(self, config: TrialConfig, *_: Any) -> None:
        """Pass on that something of a trial is new."""
        self._changed[config.trial_id] = None
        if self._start is None or (self._start.done() and not self._start.exception()):
            for trial_id in self._changed:
                self._tracker.trial_changed(trial_id)
            self._changed.clear()

    def wait_for_start(self) -> None:
        """Wait until the tracker has started.

        Raises:
            StudyError: the results cannot be kept.
        """
        if self._start:
            self._start.result()

    trial_reported = trial_ended = trial_started


class NoTracker(Tracker):
    """The tracker of a study that keeps its results in its folder alone."""

    title = ""

    def start(self, study: Study) -> None:
        """Do nothing."""

    def trial_changed(self, trial_id: str) -> None:
        """Do nothing."""

    def close(self, *, finished: bool) -> TrackerMessages:
        """Return nothing, since nothing was to be kept."""
        return TrackerMessages()


def describe_unsent(unsent: Mapping[str, str]) -> str:
    """Return the number of unsent runs, followed by a line for each reason with three of its runs.

    Args:
        unsent: the reason of each run, by its trial's id.
    """
    trials_by_reason = defaultdict(list)
    for trial_id, reason in unsent.items():
        trials_by_reason[reason].append(trial_id)
    lines = ["1 run:" if len(unsent) == 1 else f"{len(unsent)} runs:"]
    for reason, trial_ids in trials_by_reason.items():
        names = ", ".join(trial_ids[:3])
        if len(trial_ids) > 3:
            names += f" and {len(trial_ids) - 3} more"
        lines.append(f"{names}: {reason}")
    return "\n  ".join(lines)


def summarize_error(error: BaseException) -> str:
    """Return an error as one short line without passwords; database errors can fill a screen.

    If the network failed, the line names that failure instead of the call that met it.
    """
    cause = first_cause(error)
    network_failed = isinstance(cause, ConnectionError | TimeoutError | socket.gaierror)
    described = cause if network_failed else error
    text = redacted_text(str(described).strip() or repr(error))
    summary = shorten(text.splitlines()[0], LONGEST_CAUSE, placeholder=" …")
    return f"{type(error).__name__}: {summary}"
