"""The removal of a new study that failed at its start."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from study.errors import ClusterError, InterruptedStudyError, TrackingError
from study.storage.atomic import SUMS, Checksums, StorageError
from study.storage.study_folder import LOCK, StudyFolder

RESUMABLE_FAULTS = (StorageError, TrackingError, ClusterError)
"""The faults of storage, a server or Ray; once they are repaired, a study can be resumed."""
UNRECORDED = ("trials", "shots", "tune", "optuna.journal", "mlflow.json", SUMS, LOCK)
"""What a study writes before its first trial, beside the files that have a checksum."""


@contextmanager
def new_study(folder: StudyFolder, shared_folders: Sequence[Path] = ()) -> Iterator[None]:
    """Claim and lock a new study for the block; remove it if that fails before the first trial.

    Only a folder that is missing or empty is claimed, and only what was made in it since is
    removed. A study stays if it was interrupted, or if its storage, its tracking server or Ray
    failed: it can be resumed, and the server may have a run of it.

    Args:
        folder: the study's folder.
        shared_folders: folders that the block makes beside it, which other studies share.

    Raises:
        LedgerError: the study exists, or another process runs it.
        StorageError: the study's folder has other contents, or cannot be written.
    """
    folder.refuse_existing()  # before anything is written there
    path = folder.path.absolute()
    absent = [each.absolute() for each in (path, *shared_folders, *path.parents)]
    absent = [each for each in absent if not each.exists()]
    folder.claim()
    removed = False
    try:
        with folder.locked():
            folder.refuse_existing()  # another process may have made it meanwhile
            try:
                yield
            except InterruptedStudyError:
                raise
            except Exception as error:
                resumable = isinstance(error, RESUMABLE_FAULTS) and folder.exists()
                has_trials = any((folder.path / "trials").glob("*"))
                if not (resumable or has_trials):
                    _remove_made(folder)
                    removed = True
                raise
    finally:
        # After the lock, since a network file system keeps the folder of an open file.
        if removed:
            _remove_if_alone(absent, path)


def _remove_made(folder: StudyFolder) -> None:
    """Remove what was made in a study's folder; first the files that make it a study."""
    with suppress(OSError):  # the error of the study is the one to raise
        for name in (*Checksums(folder.path).names, *UNRECORDED):
            path = folder.path / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _remove_if_alone(made: Sequence[Path], study: Path) -> None:
    """Remove folders that were made for a study, unless its storage has another study by now."""
    with suppress(OSError):
        if study in made:
            study.rmdir()
        if {*study.parent.iterdir()} <= {*made, study}:
            for path in made:
                if path.parent == study.parent and path != study:
                    shutil.rmtree(path, ignore_errors=True)
                elif path != study:
                    path.rmdir()
