"""Several trackers as one, so that a study always calls a single tracker."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from operator import methodcaller
from typing import Any

from study.errors import StudyError, TrackingError
from study.tracking.tracker import Reasons, SyncResult, Tracker, UnsupportedError
from study.trial.study import Study

logger = logging.getLogger(__name__)


def _notifying(method: str) -> Any:
    """Return a method that calls the method of this name of each tracker; see `Tracker`."""

    def notify(group: "TrackerGroup", *arguments: Any) -> None:
        group._notify(methodcaller(method, *arguments))

    return notify


class TrackerGroup(Tracker):
    """A tracker that forwards each call to several trackers; if one fails, the others go on.

    Args:
        trackers: the trackers, in the order in which they are called; there may be none.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self.name = ", ".join(tracker.name for tracker in trackers)
        self.title = " and ".join(tracker.title for tracker in trackers)
        self.packages = [package for tracker in trackers for package in tracker.packages]

    def start(self, study: Study) -> None:
        """See `Tracker.start`; if one cannot start, those before it are closed."""
        with ExitStack() as started:
            for tracker in self._trackers:
                tracker.start(study)
                started.callback(tracker.close, finished=False)
            started.pop_all()

    trial_started = _notifying("trial_started")
    trial_reported = _notifying("trial_reported")
    trial_ended = _notifying("trial_ended")
    rescan_trials = _notifying("rescan_trials")
    register = _notifying("register")

    def close(self, *, finished: bool) -> Reasons:
        """See `Tracker.close`; each reason names its tracker."""
        unsent = defaultdict(list)

        def close(tracker: Tracker) -> None:
            for trial_id, reason in tracker.close(finished=finished).items():
                unsent[trial_id].append(f"{tracker.title}: {reason}")

        self._notify(close)
        return {trial_id: "; ".join(reasons) for trial_id, reasons in unsent.items()}

    def sync(self, study: Study, write_outputs: Callable[[], object]) -> SyncResult:
        """See `Tracker.sync`; `SyncResult.resent` is the largest of the trackers' numbers."""
        results = self._ask("sync", study, write_outputs)
        return SyncResult(results[0].trials, max(result.resent for result in results))

    def advice(self) -> str:
        """See `Tracker.advice`."""
        sentences = [tracker.advice() for tracker in self._trackers]
        return "\n".join(sentence for sentence in sentences if sentence)

    def viewing_hints(self) -> Sequence[tuple[str, str]]:
        """See `Tracker.viewing_hints`."""
        return [hint for tracker in self._trackers for hint in tracker.viewing_hints()]

    def _notify(self, call: Callable[[Tracker], None]) -> None:
        """Call each tracker, and log the errors, which must not end the study."""
        for tracker in self._trackers:
            try:
                call(tracker)
            except Exception:
                logger.exception("%s failed; the study goes on", type(tracker).__name__)

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of each tracker, and return the results of those that support it.

        Raises:
            StudyError: a tracker failed, or none supports the call; all have been called by then.
            TrackingError: the configuration names no tracker.
        """
        answers = []
        faults = []
        unsupported = []
        for tracker in self._trackers:
            try:
                answers.append(getattr(tracker, method)(*arguments))
            except UnsupportedError as error:
                unsupported.append(error)
            except StudyError as error:
                faults.append(error)
        if len(faults) > 1:
            raise TrackingError("; ".join(str(fault) for fault in faults))
        if faults:
            raise faults[0]
        if not self._trackers:
            raise TrackingError("tracking.trackers is empty; name a tracker, such as mlflow")
        if not answers:
            raise unsupported[0]
        return answers
