"""The command ``resume``: the rest of a study."""

from argparse import Namespace

from study.process.garbage import pause_collection
from study.workflow.check_document import printed_as_json
from study.workflow.configured_study import load_study
from study.workflow.dry_run import check_or_run


@pause_collection()
def resume_study(options: Namespace) -> None:
    """Continue a study, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with printed_as_json(options):
        study = load_study(options.folder, options.overrides)
        check_or_run(study, options.overrides, options, resume=True)
