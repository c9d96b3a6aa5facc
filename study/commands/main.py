"""The command line: ``clipfit-study COMMAND …``, or ``python -m study`` with the same words."""

import logging
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

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
"""All commands, in the order of the help."""

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
    """Run a command and return its exit code: 2 after a fault that the user can fix.

    Raises:
        SystemExit: its output cannot be written, or a parser has printed its help.
    """
    words = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    from study.process.output import usable_output

    with usable_output():
        if words[0] in ("-h", "--help"):
            _print_help()
            return 0
        if words[0] == "--version":
            from importlib.metadata import version

            print(f"{PROGRAM} {version(PROGRAM)}")
            return 0
        _log_warnings()
        from study.errors import INTERRUPTED, InterruptedStudyError, StudyError, redacted_text

        try:
            name, options = _parse(words)
            return COMMANDS[name].run(options) or 0
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


def _log_warnings() -> None:
    from study.process.visible_text import VisibleFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


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


def _parse(words: Sequence[str]) -> tuple[str, Namespace]:
    """Return the command that the first word names, else ``run`` of all words, and its options.

    Raises:
        StudyError: there is a fault that the user can fix.
    """
    name, *others = words
    if name not in COMMANDS:
        from study.commands.find import refuse_mistyped_command

        refuse_mistyped_command(name, COMMANDS)
        name, others = "run", [*words]
    module = COMMANDS[name]
    parser = ArgumentParser(prog=f"{PROGRAM} {name}", description=module.HELP)
    module.add_arguments(parser)
    for command in ("resume", "extend"):
        if f"--{command}" in others:
            parser.error(f"did you mean `{PROGRAM} {command} NAME`?")
    return name, parser.parse_intermixed_args(others)
