"""The folders that studies and MLflow write, whose files are no images of a dataset."""

import os
from contextlib import suppress
from pathlib import Path

from study.data.images.sources import IMAGE_SUFFIXES
from study.storage.study_folder import StudyFolder

IMAGES, DATASETS = ".images", ".datasets"
"""The folders of a storage with decoded images, and with the datasets of notebooks.

They are hidden, since a storage may be a folder of the user's own with a folder of either name."""
STORES = frozenset({"mlruns", "mlartifacts"})
"""The names of the folders in which MLflow keeps artifacts."""


def is_output(folder: Path, storage: Path | None = None) -> bool:
    """Return whether a folder is MLflow's, a study, or a folder of studies.

    Args:
        folder: the folder.
        storage: the folder of studies, if it is known; it may have none yet.
    """
    if folder.name in STORES:
        return True
    if storage is not None and folder.resolve() == storage.expanduser().resolve():
        return True
    with suppress(OSError):  # such as one of permission, which is reported when it is listed
        return StudyFolder(folder).exists() or _holds_studies(folder)
    return False


def _holds_studies(folder: Path) -> bool:
    """Return whether a folder holds a study; if an image comes first, it is a class's."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
                return False
            if entry.is_dir() and StudyFolder(Path(entry.path)).exists():
                return True
    return False
