"""The command ``resume``: the rest of a study."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from study.commands.arguments import (
    add_check,
    add_settings,
    add_study,
    run_or_check,
    run_with_check,
)

if TYPE_CHECKING:
    from study.commands.check_result import CheckResult

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
    run_with_check(options, _run)


def _run(options: Namespace) -> "CheckResult | None":
    from study.commands.find import find_study_and_overrides, load_study

    folder, overrides = find_study_and_overrides(options.name, options.settings)
    return run_or_check(load_study(folder, overrides), options, resume=True)
