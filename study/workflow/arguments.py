"""The arguments of all commands, which stand in `arguments.toml`."""

import argparse
import contextlib
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from study.errors import ConfigError
from study.process.table_files import read_table

CHECK_OPTIONS = ("images", "estimate", "json")
"""The options that belong to ``--check``."""


def _storage(text: str) -> Path:
    folder = text.removeprefix("storage=")
    if folder in ("", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form storage=FOLDER")
    with contextlib.suppress(RuntimeError):  # ~name of no user
        return Path(folder).expanduser()
    return Path(folder)


_TYPES = {"Path": Path, "float": float, "int": int, "storage": _storage}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Let the parser of a command take what the command takes.

    Args:
        parser: the parser.
        command: the word of the command.
    """
    table = read_table(__file__)
    described = table["shared"] | table[command]
    if "epilog" in described:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.description = described["description"]
        parser.epilog = described["epilog"]
    for name in described["takes"]:
        keywords = described[name]
        if "type" in keywords:
            keywords["type"] = _TYPES[keywords["type"]]
        parser.add_argument(keywords.pop("word", name), **keywords)


def refuse_without_check(options: Namespace) -> None:
    """Raise if an option that belongs to ``--check`` is given without it.

    Raises:
        ConfigError: there is such an option.
    """
    for option in CHECK_OPTIONS:
        if getattr(options, option) and not options.check:
            raise ConfigError(f"--{option} belongs to --check, which starts nothing")
