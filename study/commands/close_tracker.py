"""The end of tracking: the remaining results are sent, whatever ended the study."""

from collections.abc import Sequence

from rich.console import Console

from study.commands.progress import Steps
from study.commands.signals import hold_back_signals
from study.process.terminal_table import print_unwrapped
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder
from study.tracking.tracker import Tracker


def close_tracker(
    tracker: Tracker, folder: StudyFolder, console: Console, steps: Steps, *, finished: bool
) -> Sequence[tuple[str, str]]:
    """Send the rest of a study's results, and print what could not be sent.

    A closed terminal and ``kill`` do not stop this, since they ask the study to close; Ctrl-C does.

    Args:
        tracker: the tracker of the study.
        folder: the study's folder.
        console: where the missing results are listed.
        steps: shows what is being done.
        finished: whether the study ran to its end.

    Returns:
        How to view the study, see `study.tracking.tracker.TrackerLines`.

    Raises:
        KeyboardInterrupt: the study was asked to end, even if only during this.
    """
    sync = study_command("sync", folder.path)
    notice = "the study is ending already"
    if finished:
        notice = (
            f"the study is finished and sends the rest to {tracker.title}; `{sync}` sends later "
            "what is missing then"
        )
    with hold_back_signals(notice):
        with steps:
            if tracker.title:
                steps(f"sending the rest to {tracker.title}")
            lines = tracker.close(finished=finished)
        if lines.lacks:
            text = f"{tracker.title} lacks {lines.lacks}\nto send them later, run\n  {sync}"
            print_unwrapped(console, text, "yellow")
    return lines.hints
