"""The command line: ``clipfit-study COMMAND …``, or ``python -m study`` with the same words."""

import logging
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import version

from study.commands import (
    config,
    export,
    extend,
    init,
    leaderboard,
    list,
    predict,
    report,
    resume,
    run,
    status,
    sync,
)
from study.commands.console import run_with_output
from study.commands.signals import handle_signals, interrupt
from study.report.visible_text import VisibleFormatter

PROGRAM = "clipfit-study"
COMMANDS = {
    "run": run,
    "init": init,
    "config": config,
    "resume": resume,
    "extend": extend,
    "status": status,
    "list": list,
    "leaderboard": leaderboard,
    "report": report,
    "predict": predict,
    "export": export,
    "sync": sync,
}
"""The module of each command, in the order of the help."""
CONFIGURING = ("run", "init", "config")
"""The commands that take ``storage=FOLDER`` as a value of a configuration."""
STORAGE = """
storage=FOLDER names the folder of the studies (default: $STUDY_STORAGE, else
runs)."""

DESCRIPTION = """
Fine-tune CLIP on a few labelled images per class, and find out which of its
parameters to tune."""
FIRST_COMMANDS = """
first commands:
  clipfit-study run
      digits, with the small CLIP that comes with the package; a few minutes
  clipfit-study init FOLDER
      inspect your own images and write a configuration, study.yaml
  clipfit-study run study.yaml
      search, test, and train the final model

`clipfit-study COMMAND --help` explains a command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 after a fault that the user can fix."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    with handle_signals(interrupt):
        return run_with_output(lambda: _run_command(words))


def _run_command(words: Sequence[str]) -> int:
    """Run a command and return its exit code; print the faults that the user can fix."""
    try:
        name, options = _parse(words)
        return COMMANDS[name].run(options) or 0
    except SystemExit as end:  # once a help, a version or a message is printed
        return int(end.code or 0)
    except Exception as error:
        return _print_fault(error)


def _parse(words: Sequence[str]) -> tuple[str, Namespace]:
    """Return the command that the first word names, else ``run`` of all words, and its options.

    The options of a command about studies that exist have ``storage``, their folder, or None.

    Raises:
        StudyError: the first word is neither a command nor a configuration.
        SystemExit: a help, the version or a message was printed.
    """
    name, *others = words or ["--help"]
    if name in ("-h", "--help", "--version"):
        _program_parser().parse_args([name])
    if name not in COMMANDS:
        if not name.startswith("-") and "=" not in name:
            from study.commands.find import find_config

            # A mistyped command is at fault before its options are.
            find_config(name, [*COMMANDS, "--version"])
        name, others = "run", [*words]
    parser = ArgumentParser(prog=f"{PROGRAM} {name}", description=COMMANDS[name].HELP)
    COMMANDS[name].add_arguments(parser)
    storage = None
    if name not in CONFIGURING:
        parser.epilog = STORAGE
        given = [word for word in others if word.startswith("storage=")]
        others = [word for word in others if word not in given]
        if len(given) > 1 or given == ["storage="]:
            parser.error("storage=FOLDER may be given once, with a folder")
        storage = given[0].removeprefix("storage=") if given else None
    return name, parser.parse_intermixed_args(others, Namespace(storage=storage))


def _print_fault(error: Exception) -> int:
    """Print an error that the user can fix, and return the exit code; raise any other."""
    from study.errors import INTERRUPTED, InterruptedStudyError, StudyError, redacted_text

    text = redacted_text(str(error))
    if isinstance(error, PermissionError) and error.filename:  # even of asking for a file
        text = f"{error.filename} cannot be read or written: {error.strerror}"
    elif not isinstance(error, StudyError):
        raise error
    from study.report.terminal import print_error

    print_error(text)
    return INTERRUPTED if isinstance(error, InterruptedStudyError) else 2


def _program_parser() -> ArgumentParser:
    """Return the parser of the options before a command, with the help of the program."""
    parser = ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=FIRST_COMMANDS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    text = f"{PROGRAM} {version(PROGRAM)}"
    parser.add_argument("--version", action="version", version=text, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=module.HELP)
    return parser
