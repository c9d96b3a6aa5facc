"""The command ``run``: a new study, or a sweep."""

from argparse import Namespace
from pathlib import Path

from study.config.sweep import is_sweep, load_sweep
from study.process.ctrl_c import exit_at_ctrl_c
from study.process.garbage import pause_collection
from study.workflow.check_document import printed_as_json
from study.workflow.lookup import find_config_and_overrides
from study.workflow.unknown_keys import refuse_unknown_keys


@pause_collection()
def start_study(options: Namespace) -> None:
    """Run a new study or a sweep, or check what it needs.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with printed_as_json(options):
        source, overrides = find_config_and_overrides(options.arguments)
        refuse_unknown_keys(source, overrides)
        if is_sweep(source):
            _start_sweep(source, overrides, options)
            return
        with exit_at_ctrl_c():
            from study.workflow.configured_study import make_study
            from study.workflow.dry_run import check_or_run
        study = make_study(source, overrides, options.console)
        check_or_run(study, overrides, options, resume=False)


def _start_sweep(source: Path, overrides: list[str], options: Namespace) -> None:
    with exit_at_ctrl_c():
        from study.workflow.dry_run import dry_run_of_sweep
        from study.workflow.run_sweep import run_sweep
    members = load_sweep(source, overrides)
    if options.check:
        dry_run_of_sweep(members, options.console)
    else:
        run_sweep(members, options.console)
