"""The command ``resume``: the rest of a study."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from study.commands.arguments import add_check, add_settings, add_study, refuse_without_check

if TYPE_CHECKING:
    from study.commands.check_result import CheckResult
    from study.trial.study import Study

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
    from study.commands.check_result import print_check
    from study.commands.output import lasting_console

    refuse_without_check(options)
    if options.check:
        print_check(lambda: _check(options), as_json=options.json)
        return
    study = _find(options)
    from study.commands.execution import run_study

    run_study(study, lasting_console(), resume=True)


def _find(options: Namespace) -> "Study":
    from study.commands.find import find_study, load_study

    return load_study(find_study(options.name, options.storage), options.settings)


def _check(options: Namespace) -> "CheckResult":
    study = _find(options)
    from study.commands.check import check_everything

    return check_everything(study, resuming=True, images=options.images, estimate=options.estimate)
