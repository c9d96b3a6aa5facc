"""The commands about a study that messages print; each can be pasted into a shell."""

import os
import shlex
from contextlib import suppress
from pathlib import Path

from study.errors import ConfigError

PROGRAM = "clipfit-study"


def default_storage() -> Path:
    """Return the folder of studies if none is given: ``$STUDY_STORAGE``, or else ``runs``."""
    return Path(os.environ.get("STUDY_STORAGE") or "runs")


def storage_folder(storage: str | Path | None = None) -> Path:
    """Return the folder of studies, with "~" expanded; None means `default_storage`.

    Raises:
        ConfigError: it is a file.
    """
    folder = Path(str(storage or default_storage()))
    with suppress(OSError, ValueError, RuntimeError):  # no folder can have this name
        folder = folder.expanduser()
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"storage={folder} is not a folder; expected a folder of studies")
    return folder


def study_command(name: str, folder: Path, *overrides: str) -> str:
    """Return a command about a study, which is named by its path outside of the default storage."""
    path = os.path.abspath(folder)  # noqa: PTH100 -- as in `cd`: symbolic links stay
    is_default = os.path.realpath(Path(path).parent) == os.path.realpath(default_storage())
    return shlex.join([PROGRAM, name, folder.name if is_default else path, *overrides])
