"""New folders that appear whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.storage.atomic import StorageError


def refuse_taken(folder: Path) -> None:
    """Raise if a folder cannot be written without replacing something.

    Raises:
        StorageError: it is a file, or a folder with contents.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} is taken; allowed is a new or an empty folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield the place of a folder to make; it is renamed once the block has ended well.

    The place is beside the folder, so that it is on the same disk, and has the folder's name. The
    block makes it. After an error in the block, nothing is left.

    Args:
        folder: the folder; it may exist if it is empty.

    Raises:
        StorageError: see `refuse_taken`; or nothing can be written there.
    """
    refuse_taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            whole = Path(scratch, folder.name)
            yield whole
            whole.replace(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
