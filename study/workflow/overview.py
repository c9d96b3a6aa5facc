"""The summary of a study in one row: its state, its scores, its size and its age."""

import contextlib
import os
import time
from pathlib import Path

from study.errors import FormatError, StudyError
from study.results.study_results import read_results
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.workflow.status import study_status

COLUMNS = (
    "study",
    "state",
    "trials",
    "val_score",
    "test_score",
    "test_balanced",
    "bytes",
    "seconds",
    "study_id",
    "registered",
)
"""The keys of the summary of a study, in their order."""


def summarize_study(folder: StudyFolder) -> JsonObject:
    """Return the row of a study in the list of studies.

    Returns:
        The ``study``; its ``state``, which is that of `Status`, "damaged", or "other format" where
        another version wrote it; its number of ``trials``; the best ``val_score`` of the search;
        the mean ``test_score`` of the choice, and the same with the mean recall of the classes
        (``test_balanced``), as fractions; its size in ``bytes``, its age in ``seconds``; and for
        the tracker its ``study_id`` and where its winner is ``registered``. A value that does not
        exist is None.
    """
    size, age = _size_and_age(folder.path)
    row = dict.fromkeys(COLUMNS) | {
        "study": folder.name,
        "trials": len(list(folder.path.glob("trials/*/config.json"))),
        "bytes": size,
        "seconds": age,
    }
    try:
        results = read_results(folder.path)
        status = study_status(results)
        row |= {
            "state": status.state,
            "test_score": status.test_score,
            "test_balanced": status.balanced,
            "study_id": results.identity.get("study_id"),
        }
        if status.best:
            row["val_score"] = status.best[0].val_score
        if results.registration:
            row["registered"] = results.registration.uri
    except FormatError:
        row["state"] = "other format"
    except StudyError:
        row["state"] = "damaged"
    return row


def _size_and_age(folder: Path) -> tuple[int, float]:
    """Return the bytes of all files below a folder, and the seconds since the first was written."""
    size = 0
    times = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a running study may remove files meanwhile
                stat = Path(parent, name).lstat()
                size += stat.st_size
                times.append(stat.st_mtime)
    now = time.time()
    return size, now - min(times, default=now)
