"""The command ``sync``: a study's results for the tracker that lacks them."""

from argparse import ArgumentParser, Namespace

from study.process.ctrl_c import leaving_at_ctrl_c
from study.process.garbage import let_go, uncollected
from study.workflow.arguments import add_study_and_settings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_study_and_settings(parser)


@uncollected()
def sync_study(options: Namespace) -> None:
    """Send to the tracker what it lacks of a study.

    Raises:
        StudyError: there is a fault that the user can fix, or results could not be sent.
    """
    with leaving_at_ctrl_c():
        from study.workflow.lookup import find_begun
    folder, overrides = find_begun(options.study, options.arguments)
    with leaving_at_ctrl_c():
        from study import tracking
        from study.workflow import outputs
        from study.workflow.configured_study import study_in
    study = study_in(folder, overrides)
    let_go()
    with folder.locked(briefly=True):
        tracker = tracking.named(study.config.tracking.trackers)
        synced = tracker.sync(study, lambda: outputs.write_outputs(folder))
    again = f", {synced.again} of them sent again" if synced.again else ""
    options.console.print(f"{synced.trials} trials of {folder.name} are in {tracker.title}{again}")
