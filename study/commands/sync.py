"""The command ``sync``: results of a study that its tracker lacks."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_settings, add_study
from study.commands.signals import handle_signals, interrupt

HELP = "send the results of a study to MLflow that are missing there"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and settings."""
    add_study(parser)
    add_settings(parser)


def run(options: Namespace) -> None:
    """Send to the tracker what it lacks of a study.

    Raises:
        StudyError: there is a fault that the user can fix, or results could not be sent.
    """
    from study.commands.find import find_study_and_overrides, load_study

    folder, overrides = find_study_and_overrides(options.name, options.settings)
    study = load_study(folder, overrides)
    from study import tracking
    from study.commands.outputs import write_outputs

    with handle_signals(interrupt), folder.locked():
        tracker = tracking.make_tracker(study.config.tracking.tracker)
        trials = tracker.sync(study, lambda: write_outputs(folder))
    print(f"{trials} trials of {folder.name} are in {tracker.title}")
