"""The command ``status``: the progress of a study."""

from argparse import ArgumentParser, Namespace

from study.commands.arguments import add_json, add_settings, add_study
from study.process.ctrl_c import exit_at_ctrl_c

HELP = "show what is done, running and best in a study"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study, settings and ``--json``."""
    add_study(parser)
    add_settings(parser)
    add_json(parser)


def run(options: Namespace) -> None:
    """Print what is done, running and best in a study, and how to continue it.

    Raises:
        StudyError: the study cannot be read, or an override may not be given.
    """
    with exit_at_ctrl_c():
        from study.commands.find import find_study_and_overrides
    folder, overrides = find_study_and_overrides(options.name, options.settings)
    with exit_at_ctrl_c():
        from study.commands.frozen_configuration import load_study
        from study.commands.json_output import print_json
        from study.commands.signals import LastingConsole
        from study.commands.study_status import (
            INTERRUPTED,
            print_resume_commands,
            render_status,
            study_status,
        )
        from study.results.study_result import read_study_result
    status = study_status(read_study_result(load_study(folder, overrides).folder.path))
    if options.json:
        values = dict(vars(status))
        for name in ("running", "failed", "best"):
            values[name] = [trial.status_record() for trial in values[name]]
        print_json(values)
        return
    console = LastingConsole()
    console.print(render_status(status), highlight=False)
    if status.state == INTERRUPTED:
        print_resume_commands(console, [folder])
