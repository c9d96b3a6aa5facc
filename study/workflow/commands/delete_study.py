"""The command ``delete``: a study and, if asked for, its runs and models in MLflow."""

import shutil
import sys
from argparse import Namespace

from rich.filesize import decimal

from study import tracking
from study.errors import ConfigError
from study.report.sentences import sentences
from study.storage.atomic import StorageError, with_retries
from study.storage.removal import deletion_path
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.frozen_configuration import frozen_config
from study.workflow.overview import summarize_study


def delete_study(options: Namespace) -> None:
    """Print what a study has, ask, and delete it; with ``--mlflow``, delete it in MLflow as well.

    Raises:
        LedgerError: another process runs the study, or its files do not name its trackers.
        ConfigError: there is no terminal to ask on.
        TrackingError: the tracking server does not answer.
        StorageError: some of its files could not be deleted.
    """
    folder: StudyFolder = options.folder
    path = folder.path.resolve()
    summary = summarize_study(folder)  # before the lock, by which a study looks as if it were run
    with folder.locked():
        lines = sentences(
            "workflow/commands/deletion",
            path=path,
            summary=summary,
            size=decimal(summary["bytes"]),
            everywhere=options.everywhere,
        )
        print(*lines, sep="\n")
        if options.everywhere:
            study = Study(frozen_config(folder), folder)
            tracker = tracking.make_tracker(study.config.tracking.trackers)
            print(tracker.describe_contents(study))
        if not options.yes and not _is_confirmed(path.name):
            print("nothing was deleted")
            return
        if options.everywhere:
            for line in tracker.delete(study):
                print(line)
        renamed = deletion_path(path)
        with_retries(path, lambda: path.rename(renamed))
    # After the lock, since a network file system keeps the folder of an open file.
    shutil.rmtree(renamed, ignore_errors=True)
    if renamed.exists():
        raise StorageError(f"some files could not be deleted; delete the folder {renamed}")


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
