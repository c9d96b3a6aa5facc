"""The removal of studies: those that a user deletes, and new ones that failed at their start."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from study.errors import ClusterError, InterruptedStudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder

RESUMABLE_FAULTS = (StorageError, TrackingError, ClusterError)
"""The faults of storage, a server or Ray; once they are repaired, a study can be resumed."""


def deletion_path(path: Path) -> Path:
    """Return a new path beside a folder, to which the folder is renamed before it is deleted.

    So a study that is deleted only in part does not look like a study.
    """
    return path.with_name(f".deleted-{path.name}-{secrets.token_hex(4)}")


@contextmanager
def new_study(folder: StudyFolder, shared_folders: Sequence[Path] = ()) -> Iterator[None]:
    """Claim and lock a new study for the block; delete it if that fails before the first trial.

    A folder that existed before stays. A study also stays if it was interrupted, or if its storage,
    its tracking server or Ray failed: it can be resumed, and the server may have a run of it.

    Args:
        folder: the study's folder.
        shared_folders: folders that the block makes beside it, which other studies share.

    Raises:
        LedgerError: another process runs this study.
        StorageError: the study's folder cannot be written.
    """
    parents = folder.path.absolute().parents
    absent = [path.absolute() for path in (*shared_folders, *parents) if not path.exists()]
    folder.claim()
    renamed = deletion_path(folder.path)
    try:
        with folder.locked():
            existed = folder.exists()
            try:
                yield
            except InterruptedStudyError:
                raise
            except Exception as error:
                with suppress(OSError):  # the first error is the one to raise
                    resumable = isinstance(error, RESUMABLE_FAULTS) and folder.exists()
                    has_trials = any((folder.path / "trials").glob("*"))
                    if not (existed or resumable or has_trials):
                        folder.path.rename(renamed)
                raise
    finally:
        # After the lock, since a network file system keeps the folder of an open file.
        if renamed.exists():
            shutil.rmtree(renamed, ignore_errors=True)
            _delete_if_alone(absent, parents[0])


def _delete_if_alone(made: Sequence[Path], storage: Path) -> None:
    """Delete folders that were made for a study, unless the storage has another study by now."""
    with suppress(OSError):
        if set(storage.iterdir()) <= set(made):
            for path in made:
                if path.parent == storage:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.rmdir()
