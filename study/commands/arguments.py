"""Arguments that several commands take."""

import contextlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import ConfigError

if TYPE_CHECKING:
    from study.commands.check_result import CheckResult
    from study.trial.study import Study


def add_configuration(parser: ArgumentParser) -> None:
    """Add ``words``: a configuration, and values that override it."""
    parser.add_argument(
        "words",
        nargs="*",
        default=[],
        metavar="CONFIG | key=value",
        help="a configuration by name or path (default: $STUDY_CONFIG, else quickstart), and "
        "values that override it",
    )


def add_study(parser: ArgumentParser) -> None:
    """Add ``name``, of a study that exists."""
    parser.add_argument(
        "name", metavar="NAME", help="the name of a study, or the path to its folder"
    )


def add_settings(parser: ArgumentParser) -> None:
    """Add ``settings``, which override values of a study that exists."""
    parser.add_argument(
        "settings",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings that a study may change, such as resources.max_concurrent=1",
    )


def add_storage(parser: ArgumentParser) -> None:
    """Add ``storage``, the folder of studies."""
    parser.add_argument(
        "storage",
        nargs="?",
        type=_storage,
        metavar="storage=FOLDER",
        help="the folder that has the studies (default: $STUDY_STORAGE, else runs)",
    )


def add_model(parser: ArgumentParser) -> None:
    """Add ``model``: a study, a registered model or a file."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the name of a study, or the path to its folder; or models:/NAME/VERSION or "
        "models:/NAME@ALIAS of MLflow's registry (MLFLOW_TRACKING_URI, else ./mlflow.db); or a "
        "file of tuned parameters (delta.safetensors)",
    )


def add_json(parser: ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON, and everything else as errors are printed",
    )


def add_check(parser: ArgumentParser) -> None:
    """Add ``--check`` and the options that belong to it."""
    for option, text in (
        ("--check", "look for faults in everything, and start nothing"),
        ("--images", "with --check: decode all images, not only a sample"),
        (
            "--estimate",
            "with --check: measure training steps, and print the time and memory of the study",
        ),
        ("--json", "with --check: print the result as JSON"),
    ):
        parser.add_argument(option, action="store_true", help=text)


def _storage(text: str) -> Path:
    folder = text.removeprefix("storage=")
    if folder in ("", text):
        raise ArgumentTypeError(f"'{text}' is not of the form storage=FOLDER")
    with contextlib.suppress(RuntimeError):  # ~name of no user
        return Path(folder).expanduser()
    return Path(folder)


def run_with_check(options: Namespace, run: Callable[[Namespace], "CheckResult | None"]) -> None:
    """Call the function of a command or, with ``--check``, print the check that it returns.

    Raises:
        StudyError: an option that belongs to ``--check`` is given without it, or the function
            raises it.
    """
    if options.check:
        from study.commands.check_result import print_check

        print_check(lambda: run(options), as_json=options.json)
        return
    for option in ("images", "estimate", "json"):
        if getattr(options, option):
            raise ConfigError(f"--{option} belongs to --check, which starts nothing")
    run(options)


def run_or_check(study: "Study", options: Namespace, *, resume: bool) -> "CheckResult | None":
    """Run a study or, with ``--check``, only return what a check of it finds.

    Args:
        study: the study.
        options: the options of the command.
        resume: whether the study exists.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    if options.check:
        from study.commands.check import check_everything

        return check_everything(
            study, resuming=resume, images=options.images, estimate=options.estimate
        )
    from study.commands.execution import run_study
    from study.commands.output import lasting_console

    run_study(study, lasting_console(), resume=resume)
    return None
