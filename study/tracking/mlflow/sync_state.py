"""The marks in trials' folders of what was sent to MLflow: nothing is sent twice."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from study.storage.atomic import sha256_of
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


def _digest(reports: Reports, end: End | None) -> str:
    """Hash the epochs and the sent fields of the end; new fields of `End` do not count."""
    totals = [] if end is None else [end.status, end.epochs, end.seconds, end.reason]
    return sha256_of(json.dumps([*reports, totals], sort_keys=True).encode())
