"""The state of sending a trial to MLflow: its folder, read once, and what was sent of it."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from study.storage.atomic import sha256_of, with_retries
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import End, TrialFolder
from study.tracking.mlflow.run_content import Reports

MARK_FILE = "mlflow.json"
"""The file in each trial's folder that records what was sent."""


@dataclass
class Mark:
    """The record of a trial's run, and of how much of the trial was sent to it."""

    parent_id: str = ""
    """The id of the study's own run."""
    run_id: str = ""
    """The id of the trial's run; empty if nothing was sent."""
    name: str = ""
    """The name of the run."""
    began: int = 0
    """When the run started, in milliseconds; the metrics' timestamps count from here."""
    reports: int = 0
    """The number of epochs that were sent."""
    closed: bool = False
    """Whether the end and the artifacts were sent."""
    paused: bool = False
    """Whether the run was ended because the study stopped before this trial finished."""
    digest: str = ""
    """The SHA-256 of the epochs and the end that were sent; empty before any were."""

    @classmethod
    def from_folder(cls, folder: TrialFolder, parent_id: str) -> Self:
        """Read a trial's mark; return an empty one if it is missing, damaged or of another server.

        Args:
            folder: the trial's folder.
            parent_id: the id of the study's own run; a mark with another id is of another server.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            mark = cls(**json.loads(folder.read(MARK_FILE) or b"{}"))
        except (ValueError, TypeError):
            mark = cls()
        return mark if mark.parent_id == parent_id else cls(parent_id=parent_id)

    def write_to(self, folder: TrialFolder) -> None:
        """Write the mark into a trial's folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder.write(MARK_FILE, json.dumps(asdict(self)).encode())

    def record_sent(self, reports: Reports, end: End | None) -> None:
        """Record in this mark that these epochs, and the end if there is one, were sent."""
        self.reports = len(reports)
        self.closed = end is not None
        self.digest = _digest(reports, end)


@dataclass
class TrialRecord:
    """The contents of a trial's folder, read once; the configuration is read at its first use."""

    folder: TrialFolder
    mark: Mark
    """The record of what was sent, which changes as the trial is sent."""
    end: End | None
    reports: Reports

    @classmethod
    def from_folder(cls, folder: TrialFolder, parent_id: str) -> Self | None:
        """Read a trial's folder; return None if it is gone.

        Args:
            folder: the trial's folder.
            parent_id: see `Mark.from_folder`.

        Raises:
            LedgerError: the end or the reports are damaged.
            StorageError: the folder cannot be read.
        """
        if folder.read("config.json") is None:
            return None
        mark = Mark.from_folder(folder, parent_id)
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end = folder.read_end()
        return cls(folder, mark, end, folder.read_reports())

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return self.folder.trial_id

    @cached_property
    def config(self) -> JsonObject:
        """The trial's configuration."""
        return self.folder.read_config()

    @property
    def matches_mark(self) -> bool:
        """Whether the trial begins with what was sent; it may have more by now.

        A trial that was trained again does not match.
        """
        mark = self.mark
        if mark.closed and not self.end:
            return False
        sent_end = self.end if mark.closed else None
        return mark.digest in ("", _digest(self.reports[: mark.reports], sent_end))

    @property
    def is_sent(self) -> bool:
        """Whether all of the trial was sent."""
        return self.matches_mark and self.mark.closed


def modified_at(path: Path, *, existing: Path) -> int:
    """Return when a file was last written, in milliseconds.

    Runs get this time, since results may be sent much later. See `with_retries` for ``existing``.
    """
    return int(with_retries(path, path.stat, existing=existing).st_mtime * 1000)


def _digest(reports: Reports, end: End | None) -> str:
    """Hash the epochs and those fields of the end that are sent; others do not count."""
    totals = []
    if end:
        totals = [end.status, end.epochs, end.seconds, end.reason]
    return sha256_of(json.dumps([*reports, totals], sort_keys=True).encode())
