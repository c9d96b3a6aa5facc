"""The repair of a study's folder.

Damaged files that can be made again are deleted; the others are named in an error.
"""

import logging

from study.storage.atomic import Checksums, delete_temporary_files
from study.storage.result_folder import FolderError
from study.storage.study_folder import REMADE, StudyFolder
from study.storage.trial_folder import END, REPORTS, TrialFolder

logger = logging.getLogger(__name__)


def repair(folder: StudyFolder) -> None:
    """Delete the damaged files that can be made again; a damaged trial is trained again.

    The tables and the report are rewritten at the end of a study in any case. Optuna's journal is
    written when the search ends, and not read by it.

    Args:
        folder: the study's folder.

    Raises:
        FolderError: files that cannot be made again are damaged; the message names them.
    """
    folder.refuse_damaged()
    delete_temporary_files(folder.path)
    faults = []
    for name in Checksums(folder.path).names:
        try:
            folder.read(name)
        except FolderError as error:
            if name in REMADE:
                logger.warning("%s; it is created again", error)
                (folder.path / name).unlink()
            else:
                faults.append(f"{error}; restore it from a backup")
    for path in sorted((folder.path / "trials").iterdir()):
        if path.is_dir():
            faults += _repair_trial(folder.trial(path.name))
    if faults:
        raise FolderError("\n".join(faults))


def _repair_trial(trial: TrialFolder) -> list[str]:
    """Reopen a damaged trial; return a fault if its configuration is damaged."""
    damaged = trial.damaged()
    config = trial.path / "config.json"
    has_results = (trial.path / END).exists() or (trial.path / REPORTS).exists()
    if not damaged or not (config.exists() or has_results):  # a crash may leave an empty folder
        return []
    if config.name in damaged:
        return [
            f"{config} is damaged or missing; restore it from a backup, or delete the trial's "
            "folder, so that another trial replaces it"
        ]
    names = ", ".join(damaged)
    logger.warning("%s damaged in %s; the trial is trained again", names, trial.path)
    trial.reopen()
    return []
