"""The command ``extend``: more trials for a study, or another final model."""

from argparse import Namespace

from study.process.garbage import pause_collection
from study.workflow.extension import extend, extended_config
from study.workflow.run_study import change_and_run


@pause_collection()
def extend_study(options: Namespace) -> None:
    """Give a study more trials or another final model, and continue it.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    change_and_run(options.folder, options.overrides, options.console, extended_config, extend)
