"""New folders that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.storage.atomic import StorageError


def refuse_taken(folder: Path) -> None:
    """Raise if a folder cannot be written without replacing something.

    Raises:
        StorageError: it is a file, a link to nothing, or a folder with contents.
    """
    taken = not folder.is_dir() or any(folder.iterdir())
    if taken and os.path.lexists(folder):
        raise StorageError(f"{folder} is taken; allowed is a new or an empty folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield the temporary path of a folder, which replaces the folder when the block succeeds.

    The block makes the folder at the temporary path, which has the folder's name and is on the
    same disk. If the block raises, the folder is not made.

    Args:
        folder: the folder; it may exist if it is empty.

    Raises:
        StorageError: see `refuse_taken`; or the folder cannot be written, or another process has
            made it meanwhile.
    """
    refuse_taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            temporary = Path(scratch, folder.name)
            yield temporary
            temporary.replace(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
