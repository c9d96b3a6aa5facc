"""The arguments that several commands share."""

import argparse
import contextlib
from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.errors import ConfigError

STUDY_HELP = "the name of a study, or the path to its folder"
"""The help of an argument that names a study."""
CHECK_OPTIONS = ("images", "estimate", "json")
"""The options that belong to ``--check``."""


def add_storage(parser: ArgumentParser) -> None:
    """Let a command take ``storage=FOLDER``."""
    parser.add_argument(
        "storage",
        nargs="?",
        type=_storage,
        metavar="storage=FOLDER",
        help="the folder that has the studies (default: $STUDY_STORAGE, else runs)",
    )


def _storage(text: str) -> Path:
    folder = text.removeprefix("storage=")
    if folder in ("", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form storage=FOLDER")
    with contextlib.suppress(RuntimeError):  # ~name of no user
        return Path(folder).expanduser()
    return Path(folder)


def add_study(parser: ArgumentParser) -> None:
    """Let a command take the name of a study whose results it shows."""
    parser.add_argument("name", metavar="NAME", help=STUDY_HELP)


def add_study_and_settings(parser: ArgumentParser) -> None:
    """Let a command take the name of a study, and settings that it may change."""
    add_study(parser)
    add_settings(
        parser,
        "key=value",
        "settings that a study may change, such as resources.max_concurrent=1",
    )


def add_settings(parser: ArgumentParser, metavar: str, text: str) -> None:
    """Let a command take any number of words, such as ``key=value``.

    Args:
        parser: that of the command.
        metavar: the form of the words, for the help.
        text: the help.
    """
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],  # argparse would call them required
        metavar=metavar,
        help=text,
    )


def add_model(parser: ArgumentParser) -> None:
    """Let a command take a tuned model."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"{STUDY_HELP}; or models:/NAME/VERSION or models:/NAME@ALIAS of MLflow's registry "
        "(MLFLOW_TRACKING_URI, else ./mlflow.db); or a file of tuned parameters "
        "(delta.safetensors)",
    )


def add_json(parser: ArgumentParser) -> None:
    """Let a command print JSON."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON, and everything else as errors are printed"
    )


def add_check(parser: ArgumentParser) -> None:
    """Let a command check a study instead of starting it."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="look for faults in everything, and start nothing",
    )
    parser.add_argument(
        "--images",
        action="store_true",
        help="with --check: decode all images, not only a sample",
    )
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="with --check: measure training steps, and print the time and memory of the study",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --check: print the result as JSON"
    )


def refuse_without_check(options: Namespace) -> None:
    """Raise if an option that belongs to ``--check`` is given without it.

    Raises:
        ConfigError: there is such an option.
    """
    for option in CHECK_OPTIONS:
        if getattr(options, option) and not options.check:
            raise ConfigError(f"--{option} belongs to --check, which starts nothing")
