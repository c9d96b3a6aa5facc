"""The command ``delete``: a study and, if asked, what its tracker has of it."""

import shutil
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from rich.filesize import decimal

from study.errors import ConfigError
from study.process.slow_imports import slow_imports
from study.process.terminal_table import amount
from study.storage.atomic import StorageError, with_retries
from study.storage.removal import deletion_path
from study.storage.study_folder import StudyFolder
from study.workflow.arguments import add_storage, add_study

if TYPE_CHECKING:
    from study.tracking.tracker import Tracker
    from study.trial.study import Study


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_study(parser)
    add_storage(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--mlflow",
        dest="everywhere",
        action="store_true",
        help="delete its runs, and its versions of registered models, in MLflow as well",
    )


def delete_study(options: Namespace) -> None:
    """Show what a study holds, ask, and delete it, with what its tracker has if that is asked for.

    Raises:
        LedgerError: another process runs the study, or its files do not name its trackers.
        ConfigError: there is no terminal to ask on.
        TrackingError: the tracking server does not answer.
        StorageError: some of its files could not be deleted.
    """
    with slow_imports():
        from study.workflow.overview import summarize_study
    folder: StudyFolder = options.folder
    path = folder.path.resolve()
    row = summarize_study(folder)  # before the lock, by which a study looks as if it were run
    with folder.locked():
        study, tracker = _with_tracker(folder) if options.everywhere else (None, None)
        trials = amount(row["trials"], "trial")
        print(f"{path}: {row['state']}, {trials}, {decimal(row['bytes'])}")
        if study is not None and tracker is not None:
            print(tracker.describe_contents(study))
        else:
            model = f"its model {row['registered']}" if row["registered"] else "no registered model"
            print(
                f"Its trackers keep its runs (study_id = '{row['study_id']}') and {model}; "
                "--mlflow deletes these as well."
            )
        if not (options.yes or _is_confirmed(path.name)):
            return
        if study is not None and tracker is not None:
            for line in tracker.delete(study):
                print(line)
        aside = deletion_path(path)
        with_retries(path, lambda: path.rename(aside))
    # After the lock, since a network file system keeps the folder of an open file.
    shutil.rmtree(aside, ignore_errors=True)
    if aside.exists():
        raise StorageError(f"some files could not be deleted; delete the folder {aside}")


def _with_tracker(folder: StudyFolder) -> tuple["Study", "Tracker"]:
    """Return a study, and the tracker that has it.

    Raises:
        StudyError: its files do not tell which that is.
    """
    with slow_imports():
        from study import tracking
        from study.trial.study import Study
        from study.workflow.frozen_configuration import frozen_config

    study = Study(frozen_config(folder), folder)
    return study, tracking.make_tracker(study.config.tracking.trackers)


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
