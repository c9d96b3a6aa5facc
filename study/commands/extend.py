"""The command ``extend``: more trials for a study, or another final model."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_settings, add_study
from study.process.ctrl_c import exit_at_ctrl_c

HELP = (
    "continue a study with more trials, as by search.trials=+50, or with another final model, as "
    "by final.images=everything"
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and settings."""
    add_study(parser)
    add_settings(parser)


def run(options: Namespace) -> None:
    """Give a study more trials or another final model, and continue it.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with exit_at_ctrl_c():
        from study.commands.find import find_study_and_overrides
    folder, overrides = find_study_and_overrides(options.name, options.settings)
    with exit_at_ctrl_c():
        from study.commands.extension import extend_and_run
        from study.commands.signals import LastingConsole
    extend_and_run(folder, overrides, LastingConsole())
