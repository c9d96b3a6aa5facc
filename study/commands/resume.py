"""The command ``resume``: the rest of a study."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_check, add_settings, add_study, refuse_without_check
from study.process.ctrl_c import exit_at_ctrl_c

TYPE_CHECKING = False  # of typing, whose import takes long
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
    refuse_without_check(options)
    with exit_at_ctrl_c():
        from study.commands.check_result import print_check
        from study.commands.find import find_study_and_overrides
    if options.check:
        print_check(lambda: _check(options), as_json=options.json)
        return
    folder, overrides = find_study_and_overrides(options.name, options.settings)
    with exit_at_ctrl_c():
        from study.commands.frozen_configuration import load_study
        from study.commands.run_study import run_study
        from study.commands.signals import LastingConsole
    run_study(load_study(folder, overrides), LastingConsole(), resume=True)


def _check(options: Namespace) -> "CheckResult":
    with exit_at_ctrl_c():
        from study.commands.find import find_study_and_overrides
    folder, overrides = find_study_and_overrides(options.name, options.settings)
    with exit_at_ctrl_c():
        from study.commands.check import check_everything
        from study.commands.frozen_configuration import load_study
    study = load_study(folder, overrides)
    return check_everything(study, resuming=True, images=options.images, estimate=options.estimate)
