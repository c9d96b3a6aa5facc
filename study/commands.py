"""All commands: ``clipfit-study [COMMAND] …``, or ``python -m study`` with the same words."""

import argparse
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

PROGRAM = "clipfit-study"
RUN = "study.workflow.commands:run"
ABSENT = dict.fromkeys(("check", "images", "estimate"), False)
"""What `study.workflow.commands.run` takes for options that a command does not have."""
EXAMPLES = """\
A study runs many trials. Each trial trains one configuration: which parameters
of CLIP are tuned, at which learning rates. Validation images choose the best
configuration; only then it and its rivals are tested on test images.

examples of `clipfit-study run`, where `run` may be left out:
  clipfit-study
      digits, with the small CLIP that comes with the package; a few minutes
  clipfit-study photos data.root=pets
      your own images: a folder for each class in the folder pets
  clipfit-study photos data.root=pets --check --images --estimate
      look at everything, print the time it would take, and start nothing
  clipfit-study base_to_new name=letters search.trials=60 seed=1
      a configuration by its name, with other values
  clipfit-study paper/few_shot data.root=DATA
      several studies from one file, and their tables
"""


class Command(NamedTuple):
    """One command of the command line."""

    help: str
    code: str
    """The function that carries it out, as ``module:name``."""
    arguments: Sequence[tuple[Sequence[str], dict[str, Any]]] = ()
    """The names and the options of each argument, as `argparse` takes them."""


def _argument(*names: str, **options: Any) -> tuple[Sequence[str], dict[str, Any]]:
    return names, options


def _storage(text: str) -> Path:
    folder = text.removeprefix("storage=")
    if folder in ("", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form storage=FOLDER")
    with contextlib.suppress(RuntimeError):  # ~name of no user
        return Path(folder).expanduser()
    return Path(folder)


_NAMED = "the name of a study, or the path to its folder"
_MODEL = (
    f"{_NAMED}; or models:/NAME/VERSION or models:/NAME@ALIAS of MLflow's registry "
    "(MLFLOW_TRACKING_URI, else ./mlflow.db); or a file of tuned parameters (delta.safetensors)"
)
_JSON = _argument("--json", action="store_true", help="print JSON")
_STORAGE = _argument(
    "storage",
    nargs="?",
    type=_storage,
    metavar="storage=FOLDER",
    help="the folder that has the studies (default: $STUDY_STORAGE, else runs)",
)
_STUDY = (_argument("name", metavar="NAME", help=_NAMED), _STORAGE)
_EXISTING = (
    _argument("study", metavar="NAME", help=_NAMED),
    _argument(
        "arguments",
        nargs="*",
        default=[],  # argparse would call them required
        metavar="key=value",
        help="settings that a study may change, such as resources.max_concurrent=1",
    ),
)
_CHECKS = (
    _argument(
        "--check",
        action="store_true",
        help="look for faults in everything, and start nothing",
    ),
    _argument(
        "--images",
        action="store_true",
        help="with --check: decode all images, not only a sample",
    ),
    _argument(
        "--estimate",
        action="store_true",
        help="with --check: measure training steps, and print the time and memory of the study",
    ),
)

COMMANDS = {
    "run": Command(
        "run a study; this word may be left out",
        RUN,
        (
            _argument(
                "arguments",
                nargs="*",
                metavar="CONFIG | key=value",
                help="a configuration by name or path (default: $STUDY_CONFIG, else quickstart), "
                "and values that override it",
            ),
            *_CHECKS,
        ),
    ),
    "resume": Command("continue an interrupted study", RUN, (*_EXISTING, *_CHECKS)),
    "extend": Command(
        "give a study more trials, as by search.trials=+50, and continue it", RUN, _EXISTING
    ),
    "status": Command("show what is done, running and best in a study", RUN, (*_EXISTING, _JSON)),
    "list": Command(
        "list the studies in a folder: state, scores, size, age",
        "study.workflow.listing:list_studies",
        (_STORAGE, _JSON),
    ),
    "delete": Command(
        "show what a study has, ask, and delete it",
        "study.workflow.listing:delete",
        (
            *_STUDY,
            _argument("--yes", action="store_true", help="do not ask"),
            _argument(
                "--mlflow",
                action="store_true",
                help="delete its runs, and its versions of registered models, in MLflow as well",
            ),
        ),
    ),
    "sync": Command("send the results of a study to MLflow that are missing there", RUN, _EXISTING),
    "leaderboard": Command(
        "print the test scores of a study, the cells of an ablation, or the tables of a sweep "
        "(several studies of one file) beside published averages; without NAME the best "
        "configurations of all studies that MLflow has (MLFLOW_TRACKING_URI, else ./mlflow.db)",
        "study.workflow.results_commands:show_leaderboard",
        (
            _argument(
                "names",
                nargs="*",
                metavar="NAME | storage=FOLDER",
                help=f"{_NAMED}; the folder that has the studies (default: $STUDY_STORAGE, else "
                "runs)",
            ),
            _argument(
                "--to",
                type=Path,
                metavar="FOLDER",
                help="write the tables of a sweep, or the files of an ablation, into this folder",
            ),
            _argument("--base", metavar="CELL", help="the cell to compare with (default: base)"),
            _argument(
                "--study",
                metavar="NAME",
                help="without NAME above: of this study alone, as MLflow has it",
            ),
            _argument(
                "--where",
                metavar="CONDITION",
                help="without NAME above: of the runs that meet a "
                "condition of MLflow, such as \"params.dataset = 'digits'\"",
            ),
            _argument(
                "--top", type=int, default=10, help="without NAME above: how many (default: 10)"
            ),
            _argument(
                "--format",
                choices=("csv", "json", "markdown", "table", "yaml"),
                default="table",
                help="of a study: table, markdown, csv, json; of an ablation: table, markdown, "
                "csv; without NAME: table, json, or yaml, a configuration for `run` whose "
                "baselines are the listed ones (default: table)",
            ),
        ),
    ),
    "diff": Command(
        "compare two rows of a study's leaderboard class by class, or image by image",
        "study.workflow.results_commands:show_difference",
        (
            _argument("name", metavar="NAME", help=_NAMED),
            _argument("one", metavar="ONE", help="the label of a row, such as best"),
            _argument("other", metavar="OTHER", help="that of another, such as clipfit-tuned"),
            _STORAGE,
            _argument(
                "--format",
                choices=("table", "csv"),
                default="table",
                help="table: a row per class; csv: a row per image that they label differently",
            ),
        ),
    ),
    "drift": Command(
        "show how far tuning moved the model of a study",
        "study.workflow.results_commands:show_drift",
        (
            *_STUDY,
            _argument(
                "--trial",
                action="append",
                default=[],
                help="the id of a trial; several are averaged (default: those of the winner)",
            ),
        ),
    ),
    "report": Command(
        "write report.html of a study, and its charts",
        "study.workflow.results_commands:write_report",
        _STUDY,
    ),
    "predict": Command(
        "label images with the winner of a study, or another tuned model",
        "study.workflow.predict:predict",
        (
            _argument("model", metavar="MODEL", help=_MODEL),
            _argument(
                "images",
                nargs="+",
                metavar="FOLDER | FILE | storage=FOLDER",
                help="image files, and folders with images in them or in their folders",
            ),
            _argument(
                "--classes",
                metavar="NAMES | FILE",
                help="other class names: separated by commas, or in a text file, one on each line",
            ),
            _argument(
                "--top",
                type=int,
                default=3,
                help="how many classes to name for each image (default: 3)",
            ),
            _argument(
                "--out",
                type=Path,
                metavar="FILE.csv",
                help="write CSV here (default: a table for up to 20 images on a terminal, else "
                "CSV to the standard output)",
            ),
            _argument(
                "--batch-size",
                type=int,
                default=64,
                metavar="N",
                help="how many images to encode at once (default: 64)",
            ),
            _argument(
                "--device",
                default="auto",
                metavar="auto | cpu | cuda | mps",
                help="where to compute (default: auto, a GPU if there is one)",
            ),
        ),
    ),
    "export": Command(
        "write the winner of a study, or another tuned model, for other libraries",
        "study.workflow.export:export",
        (
            _argument("model", metavar="MODEL", help=_MODEL),
            _STORAGE,
            _argument(
                "--format",
                required=True,
                metavar="hf | peft | openclip | onnx",
                help="hf: a Hugging Face folder; peft: adapters for the unchanged CLIP; openclip: "
                "a folder that OpenCLIP loads; onnx: one graph from pixels to probabilities",
            ),
            _argument(
                "--out",
                type=Path,
                required=True,
                metavar="DIR",
                help="a new or empty folder; it gets a model card as README.md",
            ),
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command and return its exit code: 2 after a fault that the user can fix."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    from study.process.closed_pipe import silent_if_unread

    return silent_if_unread(lambda: _main(words))


def _main(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        print(f"{PROGRAM} {version(PROGRAM)}")
        return 0
    if not {*words[:1]} & {"-h", "--help", *COMMANDS}:
        refused = _carry_out(_refuse_mistyped, words[0]) if words else 0
        if refused:
            return refused
        words.insert(0, "run")
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Adapt CLIP to a few labelled images per class, and find out which of its "
        "parameters to tune for that.",
        epilog="`clipfit-study COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="store_true", help="print the version, and end")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = parsers.add_parser(name, help=command.help, description=command.help)
        own.set_defaults(**ABSENT)
        for names, options in command.arguments:
            own.add_argument(*names, **options)
    run = parsers.choices["run"]
    run.epilog, run.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    run.description = (
        "Search which of CLIP's biases and LayerNorms to tune on a few images, and at\n"
        "which learning rates."
    )
    if words[0] not in COMMANDS:
        parser.parse_args(words)  # prints the help, and ends
    for name in ("resume", "extend"):
        if f"--{name}" in words:
            run.error(f"did you mean `{PROGRAM} {name} NAME`?")
    code = COMMANDS[words[0]].code
    given = parsers.choices[words[0]].parse_intermixed_args(words[1:])
    given.command = words[0]
    return _carry_out(_run_command, code, given)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Load modules in a block, which Ctrl-C leaves at once."""
    from study.process.ctrl_c import leaving_at_ctrl_c
    from study.process.garbage import uncollected

    with leaving_at_ctrl_c(), uncollected():
        yield


def _refuse_mistyped(word: str) -> None:
    with _starting():
        from study.workflow.lookup import refuse_mistyped_command
    refuse_mistyped_command(word, COMMANDS)


def _run_command(code: str, options: argparse.Namespace) -> None:
    """Carry out a command.

    Args:
        code: the function that takes the options, which finds there the ``console`` as well.
        options: what the user gave.

    Raises:
        StudyError: there is a fault that the user can fix.
    """
    # Later than the arguments are read, so that help comes at once.
    with _starting():
        from study.process.terminal_table import PIPED
        from study.workflow.interruption import LastingConsole
        from study.workflow.lookup import find_studies
    options.console = LastingConsole(width=None if sys.stdout.isatty() else PIPED)
    find_studies(options)
    with _starting():
        carry_out = resolve_name(code)
    carry_out(options)


def _carry_out(do: Callable[..., None], *arguments: Any) -> int:
    """Do something and return the exit code; a `StudyError` becomes one message."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from study.errors import INTERRUPTED, InterruptedStudyError, StudyError, redacted_text

    try:
        do(*arguments)
    except StudyError as error:
        _print_error(redacted_text(str(error)))
        return INTERRUPTED if isinstance(error, InterruptedStudyError) else 2
    except PermissionError as error:  # even of asking whether a file is there
        if error.filename is None:
            raise
        _print_error(f"{error.filename} cannot be used: {error.strerror}")
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _print_error(text: str) -> None:
    from study.process.terminal_table import (
        print_error,  # which imports what most commands need later
    )

    print_error(text)
