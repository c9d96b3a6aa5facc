"""The commands that list the studies of a storage, and delete one."""

import contextlib
import json
import os
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from study.errors import ConfigError, StudyError
from study.process.terminal_table import amount
from study.report.formatting import percent
from study.results.study_results import Results, read_results
from study.storage.atomic import StorageError, with_retries
from study.storage.command_lines import default_storage, resume_command
from study.storage.removal import name_aside
from study.storage.study_folder import StudyFolder, studies
from study.tracking.tracker import Tracker
from study.trial.study import Study
from study.workflow.status import INTERRUPTED_STATE, Status, plain_table, study_status

SHOWN_SCORES = {
    "val_score": "val. %",
    "val_expected": "expect %",
    "test_score": "test %",
    "test_balanced": "balanced %",
}
"""What the list of studies calls the scores that it shows."""
NOTE = (
    "val. %: validation score of the best trial, which is a maximum and in part luck; expect %: "
    "what to expect of it on other images; test %: of the winner; balanced %: the same, where "
    "every class counts alike"
)
"""What is said of these scores below the list."""


def list_studies(options: Namespace) -> None:
    """Print the studies of a storage, as a table or as JSON.

    Raises:
        ConfigError: the storage is given, and is no folder.
    """
    storage = options.storage or default_storage()
    if options.storage and not storage.is_dir():
        raise ConfigError(f"storage={storage} is no folder; allowed is one that has studies")
    folders = studies(storage)
    rows = [describe(folder) for folder in folders]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        options.console.print(f"no studies in {storage}", highlight=False)
        return
    cells = (
        [
            *(row["study"], row["state"], str(row["trials"])),
            *(percent(row[name]) for name in SHOWN_SCORES),
            *(decimal(row["bytes"]), f"{row['seconds'] / 86400:.1f}"),
        ]
        for row in rows
    )
    header = ("study", "state", "trials", *SHOWN_SCORES.values(), "size", "days")
    count = "1 study" if len(rows) == 1 else f"{len(rows)} studies"
    options.console.print(f"{count} in {storage}", plain_table(header, cells), highlight=False)
    options.console.print(NOTE, highlight=False)
    states = zip(folders, rows, strict=True)
    interrupted = [folder for folder, row in states if row["state"] == INTERRUPTED_STATE]
    print_resume_commands(options.console, interrupted)


def print_resume_commands(console: Console, interrupted: Sequence[StudyFolder]) -> None:
    """Print how to go on with studies, each command on an unbroken line of its own."""
    if not interrupted:
        return
    commands = [f"  {resume_command(folder.path)}" for folder in interrupted]
    lines = "\n".join(["to continue, run", *commands])
    console.print(lines, highlight=False, markup=False, soft_wrap=True)


def describe(folder: StudyFolder) -> dict[str, Any]:
    """Return what the list says of a study.

    Returns:
        The ``study``; its ``state``, which is that of `Status` or "damaged"; its number of
        ``trials``; the best ``val_score`` of the search, which is a maximum, and what to expect of
        it (``val_expected``); the mean ``test_score`` of the choice, and the same with the mean
        recall of the classes (``test_balanced``), as fractions; its size in ``bytes``, its age in
        ``seconds``; and for MLflow its ``study_id`` and where its winner is ``registered``. A
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


def delete(options: Namespace) -> None:
    """Show what a study holds, ask, and delete it, with what its tracker has if that is asked for.

    Raises:
        LedgerError: another process runs the study, or its files do not tell what MLflow has.
        ConfigError: there is no terminal to ask on.
        TrackingError: the tracking server does not answer.
        StorageError: some of its files could not be deleted.
    """
    folder: StudyFolder = options.folder
    path = folder.path.resolve()
    row = describe(folder)  # before the lock, by which a study looks as if it were run
    with folder.locked():
        study, tracker = _with_tracker(folder) if options.mlflow else (None, None)
        trials = amount(row["trials"], "trial")
        print(f"{path}: {row['state']}, {trials}, {decimal(row['bytes'])}")
        if study is not None and tracker is not None:
            print(tracker.held(study))
        else:
            model = f"its model {row['registered']}" if row["registered"] else "no registered model"
            print(
                f"MLflow keeps its runs (tag study_id = '{row['study_id']}') and {model}; --mlflow "
                "deletes what MLflow has as well."
            )
        if not (options.yes or _is_confirmed(path.name)):
            return
        if study is not None and tracker is not None:
            for line in tracker.delete(study):
                print(line)
            print("`mlflow gc` frees the space that deleted runs have")
        aside = name_aside(path)
        with_retries(path, lambda: path.rename(aside))
    # After the lock, since a network file system keeps the folder of an open file.
    shutil.rmtree(aside, ignore_errors=True)
    if aside.exists():
        raise StorageError(f"some files could not be deleted; delete the folder {aside}")


def _with_tracker(folder: StudyFolder) -> tuple[Study, Tracker]:
    """Return a study, and the tracker that has it.

    Raises:
        StudyError: its files do not tell which that is.
    """
    # They take seconds to import, which a deletion of the folder alone does without.
    from study import tracking
    from study.workflow.check import frozen_config

    study = Study(frozen_config(folder), folder)
    return study, tracking.named(study.config.tracking.trackers)


def _is_confirmed(name: str) -> bool:
    """Ask whether a study is to be deleted.

    Raises:
        ConfigError: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            f"'{name}' is kept, since there is no terminal to ask on; --yes deletes without a "
            "question"
        )
    print(f"delete '{name}'? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
