"""What of a trial has been sent to MLflow: ``mlflow.json`` in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from study.storage.ledger import End, TrialFolder

FILE = "mlflow.json"


@dataclass
class Mark:
    """The run of a trial, and how much of the trial it holds."""

    parent_id: str = ""
    run_id: str = ""
    trial_id: str = ""
    """The name that the trial had when it was sent."""
    began: int = 0
    """When the run was created, in milliseconds: the origin of its metrics' times."""
    reports: int = 0
    """How many epochs were sent."""
    closed: bool = False
    """The end and the artifacts were sent."""
    paused: bool = False
    """The study was interrupted with this trial unfinished."""
    winner: bool = False
    """The run's name says that this is what validation chose."""
    digest: str = ""
    """SHA-256 of the epochs and the end that were sent; empty in marks of earlier versions."""

    @classmethod
    def read(cls, folder: TrialFolder) -> Mark:
        """Read a trial's mark; an empty one where nothing was sent, or the mark is damaged.

        Raises:
            StorageError: the folder cannot be read.
        """
        try:
            return cls(**json.loads(folder.read(FILE) or b"{}"))
        except (ValueError, TypeError):
            return cls()

    def write(self, folder: TrialFolder) -> None:
        """Write the mark into a trial's folder.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder.write(FILE, json.dumps(asdict(self)))

    def note(self, reports: Sequence[Mapping[str, Any]], end: End | None) -> None:
        """Note that these epochs were sent, and the end where there is one."""
        self.reports, self.closed = len(reports), end is not None
        self.digest = _digest(reports, end)

    def fits(self, reports: Sequence[Mapping[str, Any]], end: End | None) -> bool:
        """Return whether the trial still holds what was sent, however much was added since.

        A trial that is trained again holds something else.
        """
        if self.closed and end is None:
            return False
        sent = _digest(reports[: self.reports], end if self.closed else None)
        return self.digest in ("", sent)


def _digest(reports: Sequence[Mapping[str, Any]], end: End | None) -> str:
    """Hash what MLflow gets of epochs and end, so that later fields of `End` change nothing."""
    totals = [] if end is None else [end.status, end.epochs, end.seconds, end.reason]
    return hashlib.sha256(json.dumps([*reports, totals], sort_keys=True).encode()).hexdigest()
