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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
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
UNREACHABLE = frozenset(
    {
        errno.EIO,
        getattr(errno, "EREMOTEIO", errno.EIO),  # only Linux has it
        errno.ESTALE,
        errno.EBUSY,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
PASSING = FULL | UNREACHABLE
"""Errors that may pass: a full disk or quota, or a file server that is unreachable."""
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOENT})
"""Errors that last: no permission, a read-only file system, a missing folder, a file too large."""

Result = TypeVar("Result")
SUMS = "sha256.txt"
TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}")
"""The name of a file that `write_atomically` has not renamed yet."""


class StorageError(StudyError):
    """A file or folder that cannot be read or written; the message names it and the cause."""


@dataclass
class _Outage:
    """The time during which storage has failed this process repeatedly, by `time.monotonic`."""

    began: float = -math.inf
    last: float = -math.inf

    def add_failure(self, now: float) -> float:
        """Record a failure, and return the seconds since the outage began."""
        if now - self.last > RECOVERS_WITHIN:
            self.began = now
        self.last = now
        return now - self.began


_outage = _Outage()


def stop_waiting() -> None:
    """Let later failures raise at once, since another process of this study has waited already."""
    _outage.last = time.monotonic()
    _outage.began = _outage.last - WAIT_SECONDS


_folder_exists = os.path.isdir
"""Return whether a folder exists; `Path.is_dir` would raise if its server is unreachable."""


def with_retries(path: Path, do: Callable[[], Result], *, existing: Path | None = None) -> Result:
    """Return the result of `do`; retry for `WAIT_SECONDS` if storage is full or unreachable.

    Each outage is waited for only once. Once the time is up, further calls that fail within the
    same outage raise at once.

    Args:
        path: the file or folder that is read or written, for messages.
        do: reads or writes it; it is called again after an error that may pass.
        existing: a folder that existed before; if it is missing, its file share is not mounted,
            which may pass.

    Raises:
        StorageError: the file or folder cannot be used; raised at once if waiting would not help.
        OSError: the fault is not one of storage, such as a folder in the place of a file.
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
                if error.errno not in LASTING:
                    raise
                raise StorageError(f"{path} cannot be used: {cause}") from error
            if _outage.add_failure(time.monotonic()) > WAIT_SECONDS:
                raise StorageError(
                    f"{path} cannot be used, nor could it within {WAIT_SECONDS:g} seconds: {cause}"
                ) from error
            if not waiting:
                logger.warning(
                    "%s cannot be used: %s; trying for %g seconds", path, cause, WAIT_SECONDS
                )
            waiting = True
            time.sleep(RETRY_SECONDS)
        else:
            if waiting:
                _outage.last = -math.inf
                logger.warning("%s can be used again", path)
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


def write_output(path: Path, text: str) -> None:
    """Replace a file that a command was asked for in one step, as `write_atomically` does.

    A full disk is an error at once, since somebody waits for the command.

    Raises:
        StorageError: the file cannot be written; an old one stays as it is.
    """
    try:
        _replace(path, text.encode())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def append_lines(path: Path, lines: bytes, *, existing: Path | None = None) -> None:
    """Append whole lines to a file, after removing a last line that was cut short.

    Args:
        path: the file.
        lines: the lines, each with its line end.
        existing: see `with_retries`.

    Raises:
        StorageError: see `with_retries`.
    """
    begins = None

    def append() -> None:
        nonlocal begins
        # After an error, closing a buffered file would write its buffer again.
        with path.open("a+b", buffering=0) as file:
            drop_cut_line(file)
            if begins is None:
                begins = file.tell()
            # If the sync of an earlier attempt failed, its lines are written again: they may be in
            # memory only, and a further sync would not report that. Another process may have
            # appended lines since.
            earlier_attempt = os.pread(file.fileno(), len(lines) + 1, begins)
            if earlier_attempt and lines.startswith(earlier_attempt):
                file.truncate(begins)
            unwritten = memoryview(lines)
            while unwritten:
                unwritten = unwritten[file.write(unwritten) :]
            os.fsync(file.fileno())

    with_retries(path, append, existing=existing)


def drop_cut_line(file: FileIO) -> None:
    """Remove a last line that has no line end, and set the file's position to its end."""
    end = file.seek(0, os.SEEK_END)
    if end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n":
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)


def make_folder(path: Path) -> None:
    """Make a folder whose parent exists.

    Parents are not made: if their file share is not mounted, they would be on another disk.

    Raises:
        StorageError: see `with_retries`.
    """
    with_retries(path, lambda: path.mkdir(exist_ok=True), existing=path.parent)


def read_if_exists(path: Path, read: Callable[[], Result], *, existing: Path) -> Result | None:
    """Return the result of `read`, or None if the file is missing and `existing` is not.

    Args:
        path: the file or folder that is read, for messages.
        read: reads it; raises FileNotFoundError if it is missing.
        existing: see `with_retries`.

    Raises:
        StorageError: see `with_retries`.
    """

    def look() -> Result | None:
        # The share may come back after the read and before the look at `existing`.
        for _ in range(2):
            try:
                return read()
            except FileNotFoundError:
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


def record_checksums(folder: Path, contents: Mapping[str, bytes], *, existing: Path) -> None:
    """Record the checksums of files that are about to be written.

    Args:
        folder: the folder of the files.
        contents: the new contents of each file, by name.
        existing: see `with_retries`.

    Raises:
        StorageError: the checksums cannot be written.
    """
    lines = [f"{sha256_of(data)}  {name}\n" for name, data in contents.items()]
    append_lines(folder / SUMS, "".join(lines).encode(), existing=existing)


class Checksums:
    """The recorded checksums of a folder's files."""

    def __init__(self, folder: Path) -> None:
        path = folder / SUMS
        contents = read_if_exists(path, path.read_bytes, existing=folder.parent) or b""
        self._digests = defaultdict(set)
        lines = contents.decode(errors="replace").split("\n")
        for line in lines[:-1]:  # the last may have been cut
            # A tool that copies text may have changed the line ends, which is no damage.
            digest, _, name = line.rstrip("\r").partition("  ")
            self._digests[name].add(digest)

    @property
    def names(self) -> list[str]:
        """The names of the files that have a checksum, sorted."""
        return sorted(self._digests)

    def matches(self, name: str, contents: bytes | None) -> bool:
        """Return whether a file's contents match one of its checksums, or it has no checksum.

        Args:
            name: the file's name.
            contents: its contents; None if it is missing.
        """
        digests = self._digests.get(name)
        if digests is None:
            return True
        return contents is not None and sha256_of(contents) in digests


def sha256_of(contents: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(contents).hexdigest()
