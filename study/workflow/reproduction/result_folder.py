"""The folder of a reproduction's results: written as they come, and checked before it is read."""

import getpass
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from study.errors import DataError, redacted_text
from study.storage.atomic import (
    SUMS,
    Checksums,
    record_checksums,
    sha256_of,
    write_atomically,
)
from study.workflow.reproduction.record import Reproduction

RECORD = "reproduction.json"
MOST_FILES, MOST_BYTES = 2000, 1 << 26
"""The most files of a folder, and the most bytes of all of them, that are read."""
PATH = re.compile(r"(?<![\w./:~…-])~?(?:/[^\s/'\"`,:;()\[\]|]+)+/?")
"""A path from the root or from a home folder."""
ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
"""The address of a machine."""


def plain_line(text: str) -> str:
    """Return a message as one line that others may read, cut to what the record takes.

    It lacks what `without_private` leaves out, and the names of this machine and of its user.
    """
    line = " ".join(without_private(text).split())
    names = [socket.gethostname()]
    with suppress(KeyError, OSError):  # a user without a name
        names.append(getpass.getuser())
    for name in names:
        if name not in ("", "root", "localhost"):
            line = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", "…", line)
    return "".join(filter(str.isprintable, line))[:2000]


def without_private(text: str) -> str:
    """Return a text without credentials, folders of this machine and addresses of machines."""
    text = redacted_text(text)
    for folder in (Path.cwd(), Path.home()):
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", "")
    return ADDRESS.sub("…", PATH.sub(_last_name, text))


def _last_name(match: re.Match[str]) -> str:
    """Return the name of the file that a path leads to; of a folder only that there is one."""
    path = Path(match[0])
    if path.suffix:
        return f"…/{path.name}"
    return "…"


def publish(folder: Path, files: Mapping[str, str]) -> None:
    """Write files of a folder of results, and the checksums of all its files.

    A crash in between looks like no damage, since checksums are recorded first.

    Args:
        folder: the folder.
        files: the contents by name, which lose what is private.

    Raises:
        StorageError: they cannot be written.
    """
    contents = {name: without_private(text).encode() for name, text in files.items()}
    record_checksums(folder, contents, existing=folder.parent)
    for name, data in contents.items():
        write_atomically(folder / name, data, existing=folder)
    lines = [f"{sha256_of(data)}  {name}\n" for name, data in read_files(folder).items()]
    write_atomically(folder / SUMS, "".join(lines), existing=folder)


def read_record(folder: Path) -> Reproduction:
    """Return the record of a folder, once all its files are those that were written.

    Raises:
        DataError: a file is missing, changed or further, or no plain file, or the record is not in
            its form; the message names it.
    """
    contents = read_files(folder)
    sums = Checksums(folder)
    for name in sums.names:
        if not sums.matches(name, contents.get(name)):
            raise _refusal(folder, name, "was changed or is missing: its SHA-256 is another")
    for name in contents:
        if name not in sums.names:
            raise _refusal(folder, name, f"has no checksum in {SUMS}")
    if RECORD not in contents:
        raise _refusal(folder, RECORD, "is missing; allowed is a folder that reproduce wrote")
    try:
        return Reproduction.model_validate_json(contents[RECORD])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ascii(first["loc"])[:200]
        raise _refusal(folder, RECORD, f"has a fault at {place}: {first['msg']}") from error


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files of a folder but those of the checksums, sorted by name.

    Raises:
        DataError: there is a link or anything else that is no plain file, or too much.
    """
    if not folder.is_dir():
        raise DataError(f"{str(folder)!r} is no folder; allowed is one that reproduce wrote")
    files: dict[str, bytes] = {}
    room = MOST_BYTES
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise _refusal(folder, path.name, "is a link, a folder or no plain file")
        room -= path.stat().st_size
        if len(files) >= MOST_FILES or room < 0:
            most = f"allowed are {MOST_FILES} files of {MOST_BYTES >> 20} MB together"
            raise _refusal(folder, path.name, f"is too much; {most}")
        if path.name != SUMS:
            files[path.name] = path.read_bytes()
    return files


def _refusal(folder: Path, name: str, fault: str) -> DataError:
    return DataError(f"{str(folder)!r} is refused: the file {name!r} {fault}")
