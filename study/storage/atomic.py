"""Whole files or none: temporary name, fsync, rename. Storage that is away is waited for."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import TypeVar

from study.errors import StudyError

logger = logging.getLogger(__name__)

WAIT_SECONDS = 120.0
"""How long storage that is full or away is waited for; then a study ends, and can be resumed."""
RETRY_SECONDS = 1.0
PASSING = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.EBUSY),
        *(errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)
"""A full disk or quota, and a file server that is away."""
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOENT})
"""What waiting does not help: a right that is missing, a read-only or a missing folder."""

Result = TypeVar("Result")


class StorageError(StudyError):
    """A file or folder that cannot be read or written: which one, and why."""


def with_retries(path: Path, do: Callable[[], Result], *, known: Path | None = None) -> Result:
    """Read or write something, and wait up to `WAIT_SECONDS` for storage that is full or away.

    Args:
        path: what is read or written.
        do: does it; it is called again after it raised.
        known: a folder that has been there before: where it is missing, a share is not mounted.

    Raises:
        StorageError: naming file and cause, at once where waiting would not help.
        OSError: what is no fault of storage, such as a folder in the place of a file.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    waiting = False
    while True:
        try:
            result = do()
        except OSError as error:
            gone = error.errno == errno.ENOENT and known is not None and not _is_there(known)
            if not gone and error.errno not in PASSING:
                if error.errno not in LASTING:
                    raise
                raise StorageError(f"{path} cannot be used: {_cause(error)}") from error
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{path} cannot be used, nor could it within {WAIT_SECONDS:g} seconds: "
                    f"{_cause(error)}"
                ) from error
            if not waiting:
                logger.warning(
                    "%s cannot be used: %s; trying for %g seconds",
                    path,
                    _cause(error),
                    WAIT_SECONDS,
                )
            waiting = True
            time.sleep(RETRY_SECONDS)
        else:
            if waiting:
                logger.warning("%s can be used again", path)
            return result


def write_atomically(path: Path, contents: bytes | str, *, known: Path | None = None) -> None:
    """Replace a file so that a reader or a crash sees the old contents or the new, never a part.

    Args:
        path: the file.
        contents: text is written as UTF-8.
        known: see `with_retries`.

    Raises:
        StorageError: the folder is missing, read-only or full; the old file is then untouched.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    with_retries(path, lambda: _replace(path, data), known=known)


def append_lines(path: Path, lines: bytes, *, known: Path | None = None) -> None:
    """Add whole lines to a file, in place of a last one that was cut short.

    Args:
        path: the file.
        lines: what is added to it.
        known: see `with_retries`.

    Raises:
        StorageError: see `with_retries`.
    """

    def append() -> None:
        with path.open(
            "a+b", buffering=0
        ) as file:  # a buffer would be written once more on closing
            drop_cut_line(file)
            rest = memoryview(lines)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())

    with_retries(path, append, known=known)


def drop_cut_line(file: FileIO) -> None:
    """Take what follows the last line's end away from a file, which is then at its end."""
    end = file.seek(0, os.SEEK_END)
    if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)


def make_folder(path: Path) -> None:
    """Make a folder in one that is there: parents would be made on another disk than their share.

    Raises:
        StorageError: see `with_retries`.
    """
    with_retries(path, lambda: path.mkdir(exist_ok=True), known=path.parent)


def read_if_there(path: Path, read: Callable[[], Result], *, known: Path) -> Result | None:
    """Read a file or folder; None only if it is missing where the known folder is there.

    Raises:
        StorageError: see `with_retries`.
    """

    def look() -> Result | None:
        for _ in range(2):  # a share may be back when its folder is looked at, and the file with it
            try:
                return read()
            except FileNotFoundError:
                if not _is_there(known):
                    raise
        return None

    return with_retries(path, look, known=known)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(path.parent)


def _remove(temporary: Path) -> None:
    """Remove what was written in part; that it cannot be removed hides no other fault."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("%s stays: %s", temporary, error)


def _is_there(folder: Path) -> bool:
    """Tell whether a folder is there; `Path.is_dir` would raise where a server is away."""
    return os.path.isdir(folder)  # noqa: PTH112


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
