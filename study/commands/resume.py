"""The command ``resume``: the rest of a study."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_settings, add_study

HELP = "continue an interrupted study"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and settings."""
    add_study(parser)
    add_settings(parser)


def run(options: Namespace) -> None:
    """Continue a study, once all that it needs is checked.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    from study.commands.find import find_study, load_study

    study = load_study(find_study(options.name, options.storage), options.settings)
    from study.commands.console import output_console
    from study.commands.execution import run_study

    run_study(study, output_console(), resume=True)
