"""The listeners to trials, such as a display of progress, and how they are notified."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from study.storage.trial_folder import End
from study.trial.study import TrialConfig

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """A listener to trials, such as a progress display or the sync with a tracking server."""

    def trial_started(self, config: TrialConfig) -> None:
        """React to a trial that starts or is resumed."""

    def trial_reported(self, config: TrialConfig, epoch: int, metrics: Mapping[str, float]) -> None:
        """React to an epoch that is recorded on disk, the last one of some short ones.

        Args:
            config: the trial's configuration.
            epoch: the number of completed epochs.
            metrics: the metrics of the epoch, see `study.trial.study.EpochReport`.
        """

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """React to a trial that is closed on disk.

        Args:
            config: the trial's configuration.
            end: how the trial ended.
            score: its last score, as a fraction; None means there is none.
        """


Observers = Sequence[Observer]
"""The listeners that are notified of trials, in turn."""


def notify(observers: Observers, call: Callable[[Observer], None]) -> None:
    """Call each observer; only log what one raises, which must not end the study."""
    for observer in observers:
        try:
            call(observer)
        except Exception:
            logger.exception("%s failed; the study continues", type(observer).__name__)
