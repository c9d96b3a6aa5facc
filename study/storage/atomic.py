"""Files that outlast crashes: atomic writes, retries while storage is unavailable, and checksums.

A file is written under a temporary name, synced and renamed. ``sha256.txt`` holds SHA-256 checksums
of a folder's files, which reveal damage, in the format of ``sha256sum``. A checksum is recorded
before its file is written, and a file's earlier checksums stay. So a crash between the two writes
does not look like damage.
"""

import errno
import hashlib
import logging
import math
import os
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from study.errors import StudyError

logger = logging.getLogger(__name__)

WAIT_SECONDS = 120.0
"""How long to wait for storage that is full or unreachable; then a study ends, to be resumed."""
RETRY_SECONDS = 1.0
RECOVERS_WITHIN = 30.0
"""Failures of a process that are less than these seconds apart are one outage, waited for once."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
PASSING = FULL | {
    *(errno.EIO, errno.ESTALE, errno.EBUSY, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
}
"""Errors that may pass: a full disk or quota, or a file server that is unreachable."""

Result = TypeVar("Result")
SUMS = "sha256.txt"
TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""The name of a file that `write_atomically` has not renamed yet."""


class StorageError(StudyError):
    """A file or folder that cannot be read or written; the message names it and the cause."""


class _Outage:
    """The time during which storage has failed this process repeatedly, by `time.monotonic`."""

    began = last = -math.inf

    def add_failure(self) -> float:
        """Record a failure, and return the seconds since the outage began."""
        now = time.monotonic()
        if now - self.last > RECOVERS_WITHIN:
            self.began = now
        self.last = now
        return now - self.began


_outage = _Outage()


_folder_exists = os.path.isdir  # `Path.is_dir` would raise if the folder's server is unreachable


def with_retries(path: Path, do: Callable[[], Result], *, existing: Path | None = None) -> Result:
    """Return the result of `do`; retry for `WAIT_SECONDS` if storage is full or unreachable.

    Each outage is waited for only once: then, calls that fail within it raise at once.

    Args:
        path: the file or folder that is read or written, for messages.
        do: reads or writes it; it is called again after an error that may pass.
        existing: a folder that existed before; if it is missing, its file share is not mounted,
            which may pass.

    Raises:
        StorageError: the file or folder cannot be used; raised at once if waiting would not help.
    """
    waiting = False
    while True:
        try:
            result = do()
        except OSError as error:
            cause = error.strerror or str(error)
            may_pass = error.errno in PASSING
            if error.errno == errno.ENOENT and existing:
                may_pass = not _folder_exists(existing)  # if the file share is not mounted
            if not may_pass:
                raise StorageError(f"{path} cannot be read or written: {cause}") from error
            if _outage.add_failure() > WAIT_SECONDS:
                raise StorageError(
                    f"{path} could not be read or written for {WAIT_SECONDS:g} seconds: {cause}"
                ) from error
            if not waiting:
                logger.warning(
                    "%s isn’t available: %s; retrying for %g seconds", path, cause, WAIT_SECONDS
                )
            waiting = True
            time.sleep(RETRY_SECONDS)
        else:
            if waiting:
                _outage.last = -math.inf
                logger.warning("%s is available again", path)
            return result


def write_atomically(path: Path, contents: bytes | str, *, existing: Path | None = None) -> None:
    """Replace a file's contents in one step: after a crash it holds either the old or the new ones.

    Args:
        path: the file.
        contents: the new contents; text is written as UTF-8.
        existing: see `with_retries`.

    Raises:
        StorageError: the folder is missing, read-only or full; the old file then stays as it is.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    with_retries(path, lambda: _replace(path, data), existing=existing)


def make_folder(path: Path) -> None:
    """Make a folder whose parent exists.

    Parents are not made: if their file share is not mounted, they would be on another disk.
    """
    with_retries(path, lambda: path.mkdir(exist_ok=True), existing=path.parent)


def read_if_exists(path: Path, read: Callable[[], Result], *, existing: Path) -> Result | None:
    """Return the result of `read`, or None if the file is missing and `existing` is not.

    Args:
        path: the file or folder that is read, for messages.
        read: reads it; raises an error if it is missing, or below a file.
        existing: see `with_retries`.
    """

    def look() -> Result | None:
        # The share may come back after the read and before the look at `existing`.
        for _ in range(2):
            try:
                return read()
            except (FileNotFoundError, NotADirectoryError):
                if not _folder_exists(existing):
                    raise
        return None

    return with_retries(path, look, existing=existing)


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_temporary_files(folder: Path) -> None:
    """Delete the temporary files that crashed processes left in a folder or below it.

    No process may be writing there.
    """
    for path in folder.rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            with suppress(OSError):  # they do no harm
                path.unlink()


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to raise
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def whole_lines(contents: bytes) -> bytes:
    """Return the contents of a file of lines without a last one that has no line end."""
    return contents[: contents.rfind(b"\n") + 1]


def record_checksum(folder: Path, name: str, contents: bytes) -> None:
    """Record the checksum of a folder's file that is about to be written."""
    path = folder / SUMS
    earlier = read_if_exists(path, path.read_bytes, existing=folder.parent) or b""
    line = f"{sha256_of(contents)}  {name}\n"
    write_atomically(path, whole_lines(earlier) + line.encode(), existing=folder)


class Checksums:
    """The recorded checksums of a folder's files."""

    def __init__(self, folder: Path) -> None:
        path = folder / SUMS
        contents = read_if_exists(path, path.read_bytes, existing=folder.parent) or b""
        self._digests = defaultdict(set)
        # A tool that copies text may have changed the line ends, which is no damage.
        for line in whole_lines(contents).decode(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            self._digests[name].add(digest)

    @property
    def names(self) -> list[str]:
        """The names of the files that have a checksum, sorted."""
        return sorted(self._digests)

    def matches(self, name: str, contents: bytes | None) -> bool:
        """Return whether a file's contents match one of its checksums, or it has no checksum.

        Args:
            name: the file's name.
            contents: its contents; None if it is missing, which matches no checksum.
        """
        if name not in self._digests:
            return True
        return contents is not None and sha256_of(contents) in self._digests[name]


def sha256_of(contents: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(contents).hexdigest()
