"""The command ``refit``: another training of what a finished study ships."""

from argparse import Namespace

from study.process.garbage import pause_collection
from study.selection.later_refit import ask_for_refit, refitted_config
from study.workflow.run_study import change_and_run


@pause_collection()
def refit_study(options: Namespace) -> None:
    """Train what a study ships on other images, and register it.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    change_and_run(
        options.folder, options.overrides, options.console, refitted_config, ask_for_refit
    )
