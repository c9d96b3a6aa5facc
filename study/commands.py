"""All commands: ``clipfit-study COMMAND …``, or ``python -m study`` with the same words."""

import argparse
import atexit
import logging
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

PROGRAM = "clipfit-study"
ROOM = "study.workflow"
"""The package that has the functions of all commands."""

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

COMMANDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""All commands by their words: the ``help`` of each, and the ``function`` that carries it out, as
MODULE:FUNCTION of `study.workflow`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command and return its exit code: 2 after a fault that the user can fix."""
    if arguments is None:
        arguments = sys.argv[1:]
    words = list(arguments)
    from study.process.garbage import unfreeze_for_triton
    from study.process.output import with_usable_output

    atexit.register(unfreeze_for_triton)
    return with_usable_output(lambda: _main(words))


def _main(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        print(f"{PROGRAM} {version(PROGRAM)}")
        return 0
    if not words:
        words = ["--help"]
    if words[0] not in ("-h", "--help") and words[0] not in COMMANDS:
        refused = _carry_out(_refuse_mistyped, words[0])
        if refused:
            return refused
        words.insert(0, "run")
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=FIRST_COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version, and end")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        parsers.add_parser(name, help=command["help"], description=command["help"])
    if words[0] not in COMMANDS:
        parser.parse_args(words)  # prints the help, and ends
    from study.process.ctrl_c import exit_at_ctrl_c

    command_parser = parsers.choices[words[0]]
    with exit_at_ctrl_c():
        from study.workflow.arguments import add_arguments
    add_arguments(command_parser, words[0])
    for name in ("resume", "extend"):
        if f"--{name}" in words:
            command_parser.error(f"did you mean `{PROGRAM} {name} NAME`?")
    options = command_parser.parse_intermixed_args(words[1:])
    return _carry_out(_run_command, COMMANDS[words[0]]["function"], options)


def _refuse_mistyped(word: str) -> None:
    from study.process.slow_imports import slow_imports

    with slow_imports():
        from study.workflow.lookup import refuse_mistyped_command
    refuse_mistyped_command(word, COMMANDS)


def _run_command(function: str, options: Namespace) -> None:
    """Carry out a command.

    Args:
        function: see `COMMANDS`; it finds the ``console`` among the options as well.
        options: what the user gave.

    Raises:
        StudyError: there is a fault that the user can fix.
    """
    # Later than the arguments are read, so that help comes at once.
    from study.process.slow_imports import slow_imports

    with slow_imports():
        from study.workflow.lookup import find_studies
        from study.workflow.signals import LastingConsole
    output = None
    if getattr(options, "json", False):
        output = sys.stderr  # the standard output has the document alone
    options.console = LastingConsole(output)
    find_studies(options)
    with slow_imports():  # later than names are looked for, so that an unknown one is told at once
        carry_out = resolve_name(f"{ROOM}.{function}")
    carry_out(options)


def _carry_out(do: Callable[..., None], *arguments: Any) -> int:
    """Do something and return the exit code; a `StudyError` becomes one message."""
    from study.process.visible_text import VisibleFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    from study.errors import INTERRUPTED, InterruptedStudyError, StudyError, redacted_text

    try:
        do(*arguments)
        return 0
    except StudyError as error:
        text = redacted_text(str(error))
        code = INTERRUPTED if isinstance(error, InterruptedStudyError) else 2
    except PermissionError as error:  # even of asking whether a file is there
        if error.filename is None:
            raise
        text = f"{error.filename} cannot be used: {error.strerror}"
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    from study.process.terminal_table import print_error  # imports what most need later

    print_error(text)
    return code
