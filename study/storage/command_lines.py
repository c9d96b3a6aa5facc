"""The commands that messages print about a study: each works when it is pasted into a shell."""

import json
import os
import re
import shlex
from pathlib import Path

PROGRAM = "clipfit-study"
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
"""A path that YAML, by which overrides are read, takes for text as it is: it has a slash."""


def default_storage() -> Path:
    """Return the folder of studies if none is given: ``$STUDY_STORAGE``, or else ``runs``."""
    return Path(os.environ.get("STUDY_STORAGE") or "runs")


def resume_command(folder: Path) -> str:
    """Return the command that goes on with the study of a folder."""
    return _command("resume", *_named(folder))


def extend_command(folder: Path, *overrides: str) -> str:
    """Return the command that gives the study of a folder more trials, as overrides say."""
    return _command("extend", *_named(folder), *overrides)


def sync_command(folder: Path) -> str:
    """Return the command that sends the study of a folder to its tracker."""
    return _command("sync", *_named(folder))


def _command(*words: str) -> str:
    return shlex.join([PROGRAM, *words])


def _named(folder: Path) -> list[str]:
    """Return the words that name a study: its name, and its storage unless that is the default."""
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 -- as in `cd`: symbolic links stay
    storage = whole.parent
    if os.path.realpath(storage) == os.path.realpath(default_storage()):
        return [whole.name]
    return [whole.name, f"storage={_as_yaml(storage)}"]


def _as_yaml(storage: Path) -> str:
    """Return a folder as the value of an override, relative to the working folder if it is in it.

    It always has a slash, so that YAML takes no name such as ``2024`` for a number.
    """
    text = str(storage)
    here = Path.cwd()
    if storage != here and storage.is_relative_to(here):
        text = f"./{storage.relative_to(here)}"
    if PLAIN_PATH.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
