"""The commands about a study that messages print; each can be pasted into a shell."""

import json
import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from study.errors import ConfigError

PROGRAM = "clipfit-study"
PLAIN_PATH = re.compile(r"[\w./-]+", re.ASCII)
"""A path that needs no quotation marks in an override: YAML reads it as text, by its slash."""


def default_storage() -> Path:
    """Return the folder of studies if none is given: ``$STUDY_STORAGE``, or else ``runs``."""
    return Path(os.environ.get("STUDY_STORAGE") or "runs")


def storage_folder(storage: str | Path | None = None) -> Path:
    """Return the folder of studies, with "~" expanded; None means `default_storage`.

    Raises:
        ConfigError: it is a file.
    """
    folder = Path(str(storage or default_storage()))
    is_file = False
    with suppress(OSError, ValueError, RuntimeError):  # no folder can have this name
        folder = folder.expanduser()
        is_file = folder.exists() and not folder.is_dir()
    if is_file:
        raise ConfigError(f"storage={folder} is no folder; allowed is one that has studies")
    return folder


def study_command(name: str, folder: Path, *overrides: str) -> str:
    """Return a command about a study, with its storage unless that is the default.

    The storage is relative to the working folder if it is in it.
    """
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 -- as in `cd`: symbolic links stay
    storage = whole.parent
    words = [PROGRAM, name, whole.name]
    if os.path.realpath(storage) != os.path.realpath(default_storage()):
        text = str(storage)
        here = Path.cwd()
        if storage != here and storage.is_relative_to(here):
            # The slash tells YAML that a name such as `2024` is no number.
            text = f"./{storage.relative_to(here)}"
        if not PLAIN_PATH.fullmatch(text):
            text = json.dumps(text, ensure_ascii=False)
        words.append(f"storage={text}")
    words += overrides
    return shlex.join(words)
