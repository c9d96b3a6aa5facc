"""Optuna's journal of a study: every line is written whole, and damage costs no trial.

Only the study's driver may open it for writing; the study's lock ensures that there is one driver.
"""

import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.errors import StudyError
from study.storage.atomic import StorageError, append_lines, drop_cut_line, with_retries

logger = logging.getLogger(__name__)


class DamagedJournalError(StudyError):
    """A journal that cannot be read, or that contradicts the ledger."""


class _Journal(JournalFileBackend):
    """A journal with a single writer.

    It needs no lock file, which a killed process would leave behind.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the log entries from a number on."""
        read = super().read_logs
        yield from with_retries(
            self._path, lambda: list(read(log_number_from)), known=self._path.parent
        )

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append log entries; they are on disk when this returns."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        append_lines(self._path, lines.encode(), known=self._path.parent)


def open_journal(path: Path) -> JournalStorage:
    """Open a journal for writing, or create it.

    Raises:
        StorageError: its folder cannot be read or written.
        DamagedJournalError: Optuna cannot read the journal.
    """
    try:
        return with_retries(path, lambda: _open(path))
    except StorageError:
        raise
    except Exception as error:  # Optuna does not check what it reads
        raise DamagedJournalError(f"{type(error).__name__}: {error}") from error


def set_aside(path: Path, why: str) -> None:
    """Rename a damaged journal, so that a new one is made from the ledger."""
    kept = path.with_name(f"{path.name}.damaged")
    logger.warning("%s is damaged (%s); it is kept as %s and made again", path, why, kept.name)
    with_retries(path, lambda: path.replace(kept))


def read_journal(path: Path) -> JournalStorage:
    """Open another study's journal for reading; it stays unchanged.

    Raises:
        StudyError: the journal is damaged.
    """
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # see `open_journal`
        raise StudyError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _open(path: Path) -> JournalStorage:
    if path.exists():
        with path.open("r+b", buffering=0) as file:
            drop_cut_line(file)
    return JournalStorage(_Journal(path))
