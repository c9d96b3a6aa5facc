"""A trial as it is sent to MLflow: its folder, read once, and the mark of what was sent of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from study.storage.atomic import sha256_of, with_retries
from study.storage.trial_folder import End, TrialFolder
from study.tracking.mlflow.run_content import Reports

MARK = "mlflow.json"
"""The name of the file in each trial's folder that records what was sent."""


@dataclass
class Mark:
    """The run of a trial, and how much of the trial was sent to it."""

    parent_id: str = ""
    """The id of the study's own run."""
    run_id: str = ""
    """The id of the trial's run; empty if nothing was sent."""
    trial_id: str = ""
    """The trial's id when it was sent; a trial may be renamed later."""
    began: int = 0
    """When the run started, in milliseconds; the metrics' timestamps count from here."""
    reports: int = 0
    """The number of epochs that were sent."""
    closed: bool = False
    """Whether the end and the artifacts were sent."""
    paused: bool = False
    """Whether the run was ended because the study stopped before this trial finished."""
    winner: bool = False
    """Whether the run's name marks it as the choice of validation."""
    digest: str = ""
    """The SHA-256 of the epochs and the end that were sent; empty before any were."""

    @classmethod
    def read(cls, folder: TrialFolder, parent_id: str) -> Self:
        """Read a trial's mark; return an empty one if it is missing, damaged or of another server.

        Args:
            folder: the trial's folder.
            parent_id: the id of the study's own run, to which a trial was sent if its mark counts.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            mark = cls(**json.loads(folder.read(MARK) or b"{}"))
        except (ValueError, TypeError):
            mark = cls()
        return mark if mark.parent_id == parent_id else cls(parent_id=parent_id)

    def write(self, folder: TrialFolder) -> None:
        """Write the mark into a trial's folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder.write(MARK, json.dumps(asdict(self)))

    def note(self, reports: Reports, end: End | None) -> None:
        """Record in this mark that these epochs, and the end if there is one, were sent."""
        self.reports, self.closed = len(reports), end is not None
        self.digest = _digest(reports, end)

    def fits(self, reports: Reports, end: End | None) -> bool:
        """Return whether the trial still begins with what was sent; more may have been added.

        The answer is no for a trial that was trained again.
        """
        sent = _digest(reports[: self.reports], end if self.closed else None)
        return not (self.closed and end is None) and self.digest in ("", sent)


@dataclass
class TrialRecord:
    """What a trial's folder holds, read once; the configuration when it is first asked for."""

    folder: TrialFolder
    mark: Mark
    """What was sent; it changes as the trial is sent."""
    end: End | None
    reports: Reports

    @classmethod
    def read(cls, folder: TrialFolder, parent_id: str) -> Self | None:
        """Read a trial's folder; return None if there is none, since the trial was renamed.

        Args:
            folder: the trial's folder.
            parent_id: see `Mark.read`.

        Raises:
            LedgerError: the end or the reports are damaged.
            StorageError: the folder cannot be read.
        """
        if folder.read("config.json") is None:
            return None
        mark = Mark.read(folder, parent_id)
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end = folder.read_end()
        return cls(folder, mark, end, folder.read_reports())

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return self.folder.trial_id

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The trial's configuration."""
        return self.folder.read_config()

    @cached_property
    def began(self) -> int:
        """When the trial began, in milliseconds."""
        return written_at(self.folder.path / "config.json", known=self.folder.path.parent)

    @property
    def fits_mark(self) -> bool:
        """Whether the trial still begins with what was sent; otherwise it was trained again."""
        return self.mark.fits(self.reports, self.end)

    @property
    def is_renamed(self) -> bool:
        """Whether the trial had another name when it was sent."""
        return self.mark.trial_id not in ("", self.trial_id)

    @property
    def is_sent(self) -> bool:
        """Whether all of the trial was sent, under its present name."""
        return self.fits_mark and self.mark.closed and not self.is_renamed

    def begin_again(self) -> None:
        """Mark the trial as unsent."""
        self.mark = Mark(parent_id=self.mark.parent_id)
        self.mark.write(self.folder)


def written_at(path: Path, *, known: Path) -> int:
    """Return when a file was written, in milliseconds, since results may be sent much later."""
    return int(with_retries(path, path.stat, existing=known).st_mtime * 1000)


def _digest(reports: Reports, end: End | None) -> str:
    """Hash the epochs and the sent fields of the end; new fields of `End` do not count."""
    totals = [] if end is None else [end.status, end.epochs, end.seconds, end.reason]
    return sha256_of(json.dumps([*reports, totals], sort_keys=True).encode())
