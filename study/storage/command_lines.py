"""The commands about a study that messages print; each can be pasted into a shell."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "clipfit-study"
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
"""A path that needs no quotation marks in an override: YAML reads it as text, by its slash."""


def default_storage() -> Path:
    """Return the folder of studies if none is given: ``$STUDY_STORAGE``, or else ``runs``."""
    return Path(os.environ.get("STUDY_STORAGE") or "runs")


def resume_command(folder: Path) -> str:
    """Return the command that resumes the study of a folder."""
    return _command("resume", folder)


def extend_command(folder: Path, *overrides: str) -> str:
    """Return the command that gives the study of a folder more trials, by overrides."""
    return _command("extend", folder, overrides)


def leaderboard_command(folder: Path) -> str:
    """Return the command that prints the tables of the study of a folder."""
    return _command("leaderboard", folder)


def predict_command(folder: Path) -> str:
    """Return the command that labels images with what the study of a folder ships."""
    return f"{_command('predict', folder)} FOLDER"


def sync_command(folder: Path) -> str:
    """Return the command that sends the study of a folder to its tracker."""
    return _command("sync", folder)


def _command(name: str, folder: Path, overrides: Sequence[str] = ()) -> str:
    """Return a command about a study, with its storage unless that is the default."""
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 -- as in `cd`: symbolic links stay
    storage = whole.parent
    words = [PROGRAM, name, whole.name]
    if os.path.realpath(storage) != os.path.realpath(default_storage()):
        words.append(f"storage={_yaml_value(storage)}")
    words += overrides
    return shlex.join(words)


def _yaml_value(storage: Path) -> str:
    """Return a folder as the value of an override, relative to the working folder if it is in it.

    The value always has a slash, so that YAML does not read a name such as ``2024`` as a number.
    """
    text = str(storage)
    here = Path.cwd()
    if storage != here and storage.is_relative_to(here):
        text = f"./{storage.relative_to(here)}"
    if PLAIN_PATH.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
