"""The command ``status``: the progress of a study."""

from argparse import Namespace

from study.results.study_results import read_results
from study.workflow import status
from study.workflow.configured_study import load_study
from study.workflow.json_output import print_json


def show_status(options: Namespace) -> None:
    """Print what is done, running and best in a study, and how to continue it.

    Raises:
        StudyError: the study cannot be read, or an override may not be given.
    """
    results = read_results(load_study(options.folder, options.overrides).folder.path)
    current = status.study_status(results)
    if options.json:
        values = dict(vars(current))
        for name in ("running", "failed", "best"):
            values[name] = [trial.status_record() for trial in values[name]]
        print_json(values)
        return
    options.console.print(status.render_status(current), highlight=False)
    if current.state == status.INTERRUPTED_STATE:
        status.print_resume_commands(options.console, [options.folder])
