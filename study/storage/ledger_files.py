"""The files of a study's folders: how they are written whole, checked, and read."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.storage.atomic import read_if_exists, record_checksums, write_atomically


class LedgerError(StudyError):
    """A fault of a study's folder, such as a missing or damaged file."""


class DamagedError(LedgerError):
    """Files of a study are missing or damaged that cannot be made again."""


class LedgerFolder:
    """A folder of files that are written atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _existing(self) -> Path:
        """A folder that is there before a file is written; see `with_retries`."""
        return self.path

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file; None if it has not been written."""
        path = self.path / name
        return read_if_exists(path, path.read_bytes, existing=self.path.parent)

    def read_json(self, name: str, record: Callable[..., Any] | None = None) -> Any:
        """Return the value in a JSON file; None if the file has not been written.

        Args:
            name: the file's path below the folder.
            record: makes a record of the fields that the file holds; None means the value itself.

        Raises:
            LedgerError: the file is damaged.
        """
        contents = self.read(name)
        return None if contents is None else parse_json(self.path / name, contents, record)

    def read_required(self, name: str, advice: str = "") -> bytes:
        """Return the contents of a file without which nothing can be done.

        Args:
            name: the file's name.
            advice: how to get it back, which ends the message.

        Raises:
            LedgerError: it is missing or damaged.
        """
        try:
            contents = self.read(name)
        except LedgerError as error:
            raise LedgerError(f"{error}{advice}") from error
        if contents is None:
            raise LedgerError(f"{self.path / name} is missing{advice}")
        return contents

    def write(self, name: str, contents: bytes | str, *, recorded: bool = False) -> None:
        """Write a file atomically, after its checksum if that is to be recorded."""
        data = contents.encode() if isinstance(contents, str) else contents
        if recorded:
            record_checksums(self.path, {name: data}, existing=self._existing)
        write_atomically(self.path / name, data, existing=self._existing)


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=asdict).encode()


def parse_json(
    path: Path, contents: bytes, record: Callable[..., Any] | None = None, advice: str = ""
) -> Any:
    """Return the value in the JSON of a file, or the record that has its values.

    Raises:
        LedgerError: it is no JSON, or has other values than the record; `advice` ends the message.
    """
    try:
        value = json.loads(contents.decode())
        return record(**value) if record else value
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{path} is damaged: {error}{advice}") from error


def collect_faults(*looks: Callable[[], object]) -> list[str]:
    """Return the faults of a study's folder that looks at its files find."""
    faults = []
    for look in looks:
        try:
            look()
        except LedgerError as error:
            faults.append(str(error))
    return faults
