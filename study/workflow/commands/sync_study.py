"""The command ``sync``: results of a study that its tracker lacks."""

from argparse import Namespace

from study import tracking
from study.workflow import outputs
from study.workflow.configured_study import load_study


def sync_study(options: Namespace) -> None:
    """Send to the tracker what it lacks of a study.

    Raises:
        StudyError: there is a fault that the user can fix, or results could not be sent.
    """
    folder = options.folder
    study = load_study(folder, options.overrides)
    with folder.locked(briefly=True):
        tracker = tracking.make_tracker(study.config.tracking.tracker)
        trials = tracker.sync(study, lambda: outputs.write_outputs(folder))
    options.console.print(f"{trials} trials of {folder.name} are in {tracker.title}")
