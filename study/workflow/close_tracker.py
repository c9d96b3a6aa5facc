"""The end of a study: what its tracker lacks is sent and told, whatever ended it."""

from rich.console import Console

from study.storage.command_lines import sync_command
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker, describe_unsent
from study.workflow.progress import Steps
from study.workflow.signals import hold_back_signals


def close_tracker(
    tracker: Tracker, folder: StudyFolder, console: Console, step: Steps, *, finished: bool
) -> None:
    """Send the rest of a study's results, and print what could not be sent.

    A closed terminal and ``kill`` do not stop this, as it is what they ask for; Ctrl-C does.

    Args:
        tracker: what keeps the study's results beside its folder.
        folder: the study's folder.
        console: where is printed what the tracker lacks.
        step: where it is shown what is being done.
        finished: whether the study ran to its end.

    Raises:
        KeyboardInterrupt: the study was asked to end, if only while it did.
    """
    with hold_back_signals():
        with step:
            if tracker.title:
                step(f"sending the rest to {tracker.title}")
            unsent = tracker.close(finished=finished)
        if unsent:
            console.print(
                f"{tracker.title} lacks {describe_unsent(unsent)}\nto send them "
                f"later, run\n  {sync_command(folder.path)}",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
