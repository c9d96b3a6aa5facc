"""The command line: ``clipfit-study COMMAND …``, or ``python -m study`` with the same words."""

import logging
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from study.commands import NAMES
from study.commands.output import with_usable_output
from study.commands.signals import exit_at_ctrl_c
from study.report.visible_text import VisibleFormatter

PROGRAM = "clipfit-study"
COMMANDS = {name: import_module(f"study.commands.{name}") for name in NAMES}
"""The module of each command."""

DESCRIPTION = """
Adapt CLIP to a few labelled images per class, and find out which of its
parameters to tune for that."""
FIRST_COMMANDS = """
first commands:
  clipfit-study run
      digits, with the small CLIP that comes with the package; a few minutes
  clipfit-study init FOLDER
      look at your own images, and write a configuration, study.yaml
  clipfit-study run study.yaml
      search, test, and train the final model on them

`clipfit-study COMMAND --help` explains a command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 after a fault that the user can fix."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    with exit_at_ctrl_c():
        return with_usable_output(lambda: _main(words))


def _main(words: Sequence[str]) -> int:
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        return _run_command(words)
    except SystemExit as end:  # of argparse, once it has printed a help or a message
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from study.errors import INTERRUPTED, InterruptedStudyError, StudyError, redacted_text

        text = redacted_text(str(error))
        if isinstance(error, PermissionError) and error.filename:  # even of asking for a file
            text = f"{error.filename} cannot be used: {error.strerror}"
        elif not isinstance(error, StudyError):
            raise
        from study.report.terminal_table import print_error

        print_error(text)
        return INTERRUPTED if isinstance(error, InterruptedStudyError) else 2


def _run_command(words: Sequence[str]) -> int:
    """Run the command that the first word names, or else ``run`` with all words.

    Raises:
        StudyError: there is a fault that the user can fix.
    """
    name, *others = words or ["--help"]
    if name in ("-h", "--help"):
        _print_help()
        return 0
    if name == "--version":
        print(f"{PROGRAM} {version(PROGRAM)}")
        return 0
    if name not in COMMANDS:
        if not name.startswith("-") and "=" not in name:
            from study.commands.find import find_config

            find_config(name)  # a mistyped command is at fault before its options are
        name, others = "run", [*words]
    module = COMMANDS[name]
    parser = ArgumentParser(prog=f"{PROGRAM} {name}", description=module.HELP)
    module.add_arguments(parser)
    return module.run(parser.parse_intermixed_args(others)) or 0


def _print_help() -> None:
    parser = ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=FIRST_COMMANDS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version, and end")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=module.HELP)
    parser.print_help()
