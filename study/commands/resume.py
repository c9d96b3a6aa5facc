"""The command ``resume``: the rest of a study."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_check, add_settings, add_study, refuse_without_check
from study.process.ctrl_c import exit_at_ctrl_c

HELP = "continue an interrupted study"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study, settings, and ``--check`` with what belongs to it."""
    add_study(parser)
    add_settings(parser)
    add_check(parser)


def run(options: Namespace) -> None:
    """Continue a study, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    refuse_without_check(options)
    with exit_at_ctrl_c():
        from study.commands.find import find_study_and_overrides
    folder, overrides = find_study_and_overrides(options.name, options.settings)
    with exit_at_ctrl_c():
        from study.commands.check_document import printed_as_json
        from study.commands.configured_study import load_study
        from study.commands.dry_run import check_or_run
        from study.commands.signals import make_console
    options.console = make_console(json=options.json)
    with printed_as_json(options):
        check_or_run(load_study(folder, overrides), overrides, options, resume=True)
