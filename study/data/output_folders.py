"""The folders that studies and MLflow write, whose files are no images of a dataset."""

import os
from contextlib import suppress
from pathlib import Path

from study.storage.study_folder import StudyFolder

IMAGES, DATASETS = ".images", ".datasets"
"""The folders of a storage with decoded images, and with the datasets of notebooks.

They are hidden, since a storage may be a folder of the user's own with a folder of either name."""
STORES = frozenset({"mlruns", "mlartifacts"})
"""The names of the folders in which MLflow keeps artifacts."""


def is_output_folder(folder: Path) -> bool:
    """Return whether a folder is MLflow's, a study, or the storage of studies.

    A storage has decoded images, which a user may delete, and studies.
    """
    if folder.name in STORES:
        return True
    with suppress(OSError):  # such as one of permission, which is reported when it is listed
        if (folder / IMAGES).is_dir() or StudyFolder(folder).exists():
            return True
        with os.scandir(folder) as entries:
            return any(StudyFolder(Path(one.path)).exists() for one in entries if one.is_dir())
    return False
