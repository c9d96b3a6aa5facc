"""What a study is in one line: its state, its scores, its size and its age."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.results.study_results import Results, read_results
from study.storage.study_folder import StudyFolder
from study.workflow.status import Status, study_status


def summarize_study(folder: StudyFolder) -> dict[str, Any]:
    """Return what the list says of a study.

    Returns:
        The ``study``; its ``state``, which is that of `Status` or "damaged"; its number of
        ``trials``; the best ``val_score`` of the search, which is a maximum, and what to expect of
        it (``val_expected``); the mean ``test_score`` of the choice, and the same with the mean
        recall of the classes (``test_balanced``), as fractions; its size in ``bytes``, its age in
        ``seconds``; and for trackers its ``study_id`` and where its winner is ``registered``. A
        value that does not exist is None.
    """
    results: Results | None = None
    status: Status | None = None
    with contextlib.suppress(StudyError):
        results = read_results(folder.path)
        status = study_status(results)
    files: list[os.stat_result] = []
    for path in (Path(place, name) for place, _, names in os.walk(folder.path) for name in names):
        with contextlib.suppress(OSError):  # a study that runs may remove some meanwhile
            files.append(path.lstat())
    return {
        "study": folder.name,
        "state": status.state if status else "damaged",
        "trials": len(list(folder.path.glob("trials/*/config.json"))),
        "val_score": status.best[0].val_score if status and status.best else None,
        "val_expected": status.expected if status else None,
        "test_score": status.test_score if status else None,
        "test_balanced": status.balanced if status else None,
        "bytes": sum(file.st_size for file in files),
        "seconds": time.time() - min((file.st_mtime for file in files), default=time.time()),
        "study_id": results.identity.get("study_id") if results else None,
        "registered": results.registration.uri if results and results.registration else None,
    }
