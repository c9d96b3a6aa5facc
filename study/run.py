"""Run a study: ``clipfit-study run [CONFIG] [section.field=value …]``, or this file as a script.

``ray submit`` copies the script alone to a cluster, where the package is installed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

EXAMPLES = """\
examples of `clipfit-study run`, where `run` may be left out:
  clipfit-study                                     the embedded study, a few minutes
  clipfit-study configs/quickstart.yaml search.trials=40 seed=1
  clipfit-study base_to_new name=letters            a configuration by name
  clipfit-study base_to_new --check                 look at everything, start nothing
  clipfit-study paper/few_shot data.root=DATA       several studies from one file, and tables
  clipfit-study --resume letters                    go on with an interrupted study
  clipfit-study --extend letters search.trials=+50  more trials for a finished study
  clipfit-study --status letters                    what is done, running and best
  clipfit-study --sync letters                      send to MLflow what it missed or lost
"""
RUN = "study.workflow.commands:run"
ABSENT = {
    "code": RUN,
    **{"check": False, "json": False},
    **dict.fromkeys(("resume", "extend", "status", "sync")),
}
"""What `study.workflow.commands.run` takes for options that a command does not have."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a study and return the exit code: 2 after a fault that the user can fix."""
    parser = argparse.ArgumentParser(prog="study/run.py")
    add_arguments(parser)
    return carry_out(parser.parse_intermixed_args(arguments))


def carry_out(options: argparse.Namespace) -> int:
    """Carry out a command and return its exit code; a `StudyError` becomes one message.

    Args:
        options: what the user gave, and as ``code`` the function that takes it, which finds there
            the ``console`` as well.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Later than the arguments are read, so that help comes at once.
    from rich.console import Console

    from study.errors import InterruptedStudyError, StudyError, redacted_text
    from study.workflow.commands import find_studies

    # Eleven columns need more than the 80 characters that rich assumes for a pipe.
    options.console = Console() if sys.stdout.isatty() else Console(width=120)
    try:
        find_studies(options)
        resolve_name(options.code)(options)
    except StudyError as error:
        print(f"error: {redacted_text(str(error))}", file=sys.stderr)
        return 130 if isinstance(error, InterruptedStudyError) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `study.workflow.commands.run`."""
    parser.description = (
        "Search which of CLIP's biases and LayerNorms to tune on a few images, and at which "
        "learning rates."
    )
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.set_defaults(**ABSENT)
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="CONFIG | key=value",
        help="a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and "
        "values that override it",
    )
    parser.add_argument("--check", action="store_true", help="validate everything, start nothing")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", metavar="NAME", help="go on with the study of this name")
    existing.add_argument("--extend", metavar="NAME", help="give it more trials, and go on")
    existing.add_argument("--status", metavar="NAME", help="show what is done, running and best")
    existing.add_argument("--sync", metavar="NAME", help="send a study's results to MLflow")


def _leave_package_off_the_path() -> None:
    """Remove study/ from ``sys.path``, where Python puts it first when it runs this script.

    A module of this package could otherwise replace a library of the same name.
    """
    folder = Path(__file__).resolve().parent
    # The home folder to which Ray copies this script is not the package, and stays on the path.
    packaged = (folder / "method" / "subsets.py").exists()
    if packaged and Path(sys.path[0] or ".").resolve() == folder:
        sys.path.pop(0)


if __name__ == "__main__":
    _leave_package_off_the_path()
    sys.exit(main())
