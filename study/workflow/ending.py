"""The end of a study: what its tracker lacks is sent and told, whatever ended it."""

import os
import sys
import threading

from rich.console import Console

from study.errors import INTERRUPTED
from study.storage.ledger import StudyFolder
from study.tracking.tracker import Tracker, describe_unsent
from study.workflow.status import Steps


class Ending:
    """The end of one study, which happens once: the first that closes it goes through.

    Args:
        folder: the study's folder.
        tracker: what keeps its results beside the folder.
        console: where is printed what the tracker lacks.
    """

    def __init__(self, folder: StudyFolder, tracker: Tracker, console: Console) -> None:
        self._folder, self._tracker, self._console = folder, tracker, console
        self._once = threading.Lock()

    def close(self, step: Steps, *, finished: bool) -> None:
        """Send the rest of the results, and print what could not be sent.

        Args:
            step: where it is shown what is being done.
            finished: whether the study ran to its end.
        """
        self._once.acquire()  # for good
        self._close(step, finished=finished)

    def without_ray(self, lost: str) -> None:
        """End the process as an interruption does, from another thread than the main one.

        The main thread waits for Ray, and may do so for a minute.

        Args:
            lost: what was lost of Ray, in words.
        """
        if not self._once.acquire(blocking=False):
            return  # Ray is not needed any more
        self._console.show_cursor()  # a bar of progress hides it
        print(
            f"\nerror: the study was interrupted, since {lost}; "
            f"go on by --resume {self._folder.name}",
            file=sys.stderr,
            flush=True,
        )
        try:
            self._close(Steps(self._console), finished=False)
        finally:
            sys.stdout.flush()
            os._exit(INTERRUPTED)  # nothing can be asked of Ray, not even to end

    def _close(self, step: Steps, *, finished: bool) -> None:
        with step:
            step(f"sending the rest to {self._tracker.title}")
            unsent = self._tracker.close(finished=finished)
        if unsent:
            self._console.print(
                f"{self._tracker.title} lacks {describe_unsent(unsent)}\nsend them, once that is "
                f"mended, by clipfit-study --sync {self._folder.name}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
