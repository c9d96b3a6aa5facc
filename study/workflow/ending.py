"""The end of a study: what its tracker lacks is sent and told, whatever ended it."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console

from study.errors import INTERRUPTED
from study.storage.command_lines import resume_command, sync_command
from study.storage.ledger import StudyFolder
from study.tracking.tracker import Tracker, describe_unsent
from study.workflow.interruption import held_back
from study.workflow.progress import Steps


class Ending:
    """The end of one study, which happens once: the first that closes it goes through.

    Args:
        folder: the study's folder.
        tracker: what keeps its results beside the folder.
        console: where is printed what the tracker lacks.
        elsewhere: the arguments of the command ``sync`` that closes the study in another process;
            None means that only this one can.
    """

    def __init__(
        self,
        folder: StudyFolder,
        tracker: Tracker,
        console: Console,
        elsewhere: Sequence[str] | None = None,
    ) -> None:
        self._folder, self._tracker, self._console = folder, tracker, console
        self._elsewhere = elsewhere
        self._once = threading.Lock()

    def close(self, step: Steps, *, finished: bool) -> None:
        """Send the rest of the results, and print what could not be sent.

        A closed terminal and ``kill`` do not stop this, as it is what they ask for; Ctrl-C does.

        Args:
            step: where it is shown what is being done.
            finished: whether the study ran to its end.

        Raises:
            KeyboardInterrupt: the study was asked to end, if only while it did.
        """
        with held_back():
            self._once.acquire()  # for good
            self._close(step, finished=finished)

    def without_ray(self, lost: str, at_once: bool = False) -> None:
        """End the process as an interruption does, from another thread than the main one.

        The main thread waits for Ray, and may do so for a minute.

        Args:
            lost: what was lost of Ray, in words.
            at_once: whether Ray may end this process at any moment, so that another one has to send
                the rest of the results.
        """
        if not self._once.acquire(blocking=False):
            return  # Ray is not needed any more
        self._console.show_cursor()  # a bar of progress hides it
        with suppress(OSError):  # nobody may read it any more
            print(
                f"\nerror: the study was interrupted, since {lost}; "
                f"to continue, run\n  {resume_command(self._folder.path)}",
                file=sys.stderr,
                flush=True,
            )
        try:
            if at_once and self._elsewhere is not None:
                subprocess.Popen(
                    [sys.executable, "-m", "study", "sync", *self._elsewhere],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            else:
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
                f"{self._tracker.title} lacks {describe_unsent(unsent)}\nto send them "
                f"later, run\n  {sync_command(self._folder.path)}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
