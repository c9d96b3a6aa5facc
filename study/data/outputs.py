"""The folders that studies and MLflow write, whose files are no images of a dataset."""

from contextlib import suppress
from pathlib import Path

from study.storage.study_folder import StudyFolder

IMAGES, DATASETS = ".images", ".datasets"
"""The folders of a storage with decoded images, and with the datasets of notebooks.

They are hidden, since a storage may be a folder of the user's own with a folder of either name."""
STORES = frozenset({"mlruns", "mlartifacts"})
"""The names of the folders in which MLflow keeps artifacts."""


def is_output(folder: Path) -> bool:
    """Return whether a folder is MLflow's, a study, or the storage of studies.

    Decoded images are written before anything else, so every storage has a folder for them.
    """
    if folder.name in STORES:
        return True
    with suppress(OSError):  # such as one of permission, which is reported when it is listed
        return (folder / IMAGES).is_dir() or StudyFolder(folder).exists()
    return False
