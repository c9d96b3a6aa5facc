"""The removal of studies: of those that a user deletes, and of new ones that came to nothing."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from study.errors import InterruptedStudyError, TrackingError
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder

GOES_ON = (StorageError, TrackingError)
"""The faults after which a study that has begun goes on once they are mended elsewhere."""


def deletion_path(path: Path) -> Path:
    """Return a new path beside a folder that is to be deleted, which is renamed to it first.

    What is deleted only in part must not look like a study.
    """
    return path.with_name(f".deleted-{path.name}-{secrets.token_hex(4)}")


@contextmanager
def new_study(folder: StudyFolder, beside: Sequence[Path] = ()) -> Iterator[None]:
    """Claim and lock a new study for the block; delete it if that fails before the first trial.

    What was there before stays, and so does a study that was interrupted, or that waits for its
    storage or its tracking server: it can go on. The server may have a run of it already.

    Args:
        folder: the study's folder.
        beside: folders that the block makes beside it, which other studies share.

    Raises:
        LedgerError: another process runs this study.
        StorageError: the study's folder cannot be written.
    """
    above = folder.path.absolute().parents
    absent = [path.absolute() for path in (*beside, *above) if not path.exists()]
    folder.claim()
    aside = deletion_path(folder.path)
    try:
        with folder.locked():
            existed = folder.exists()
            try:
                yield
            except InterruptedStudyError:
                raise
            except Exception as error:
                with suppress(OSError):  # another error led here
                    goes_on = isinstance(error, GOES_ON) and folder.exists()
                    if not (existed or goes_on or any((folder.path / "trials").glob("*"))):
                        folder.path.rename(aside)
                raise
    finally:
        # After the lock, since a network file system keeps the folder of an open file.
        if aside.exists():
            shutil.rmtree(aside, ignore_errors=True)
            _delete_if_alone(absent, above[0])


def _delete_if_alone(made: Sequence[Path], storage: Path) -> None:
    """Delete folders that were made for a study, unless another study has come meanwhile."""
    with suppress(OSError):
        if set(storage.iterdir()) <= set(made):
            for path in made:
                if path.parent == storage:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.rmdir()
