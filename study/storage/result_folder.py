"""A folder of a study: its files are written atomically, and checked when they are read.

The number of their format is checked as well, here and in files of tuned parameters.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from study.errors import FormatError, StudyError
from study.storage.atomic import read_if_exists, record_checksum, write_atomically

T = TypeVar("T")
FORMAT = 2
"""The number of this version; it grows when files of an earlier form can no longer be read."""
KEY = "format"
"""The key that the number has in a file."""
JsonObject = dict[str, Any]
"""What a JSON file, or a line of one, holds."""


class FolderError(StudyError):
    """A fault of a study's folder, such as a missing or damaged file."""


class ResultFolder:
    """A folder of files that are written atomically.

    Its methods raise `FolderError` if a file is damaged, and `StorageError` if storage fails, see
    `study.storage.atomic.with_retries`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file; None if it has not been written."""
        path = self.path / name
        return read_if_exists(path, path.read_bytes, existing=self.path.parent)

    def read_json(self, name: str) -> Any:
        """Return the value in a JSON file; None if the file has not been written."""
        contents = self.read(name)
        return None if contents is None else parse_json(self.path / name, contents)

    def read_record(self, name: str, record: Callable[..., T]) -> T | None:
        """Return the record of the fields in a JSON file; None if it has not been written."""
        fields = self.read_json(name)
        if fields is None:
            return None
        try:
            return record(**fields)
        except TypeError as error:
            raise FolderError(f"{self.path / name} is damaged: {error}") from error

    def read_required(self, name: str) -> bytes:
        """Return the contents of a file that every command needs; FolderError if it is missing."""
        contents = self.read(name)
        if contents is None:
            raise FolderError(f"{self.path / name} is missing")
        return contents

    def write(self, name: str, contents: bytes, *, recorded: bool = False) -> None:
        """Write a file atomically; if it is to be ``recorded``, write its checksum first."""
        if recorded:
            record_checksum(self.path, name, contents)
        write_atomically(self.path / name, contents, existing=self.path)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value, which may hold dataclasses, to a JSON file, with its checksum."""
        self.write(name, json_bytes(value) + b"\n", recorded=True)


def json_bytes(value: Any) -> bytes:
    """Return a value, which may hold dataclasses, as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=asdict).encode()


def parse_json(path: Path, contents: bytes) -> Any:
    """Return the value in the JSON of a file; FolderError if it is not JSON."""
    try:
        return json.loads(contents.decode())
    except ValueError as error:
        raise FolderError(f"{path} is damaged: {error}") from error


def refuse_other_format(file: Path | str, number: object) -> None:
    """Raise an error if a file is of another format than this version reads.

    Args:
        file: the file, for the message.
        number: the number that the file has; None means none.

    Raises:
        FormatError: it is.
    """
    if str(number) != str(FORMAT):  # true is 1 to Python
        found = "no format number" if number is None else f"format {str(number)[:100]}"
        raise FormatError(
            f"{file} has {found}; this version of clipfit-study reads only format {FORMAT}. Use "
            "the version that wrote it, or create it again"
        )
