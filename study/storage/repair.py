"""The repair of a study's folder.

Damaged files that can be made again are deleted; the others are named in an error.
"""

import logging
import shutil
from collections.abc import Callable

from study.storage.atomic import Checksums, delete_temporary_files
from study.storage.ledger_files import DamagedError
from study.storage.study_folder import (
    CANDIDATES,
    CELLS,
    CHANCE,
    REGISTERED,
    StudyFolder,
)
from study.storage.trial_folder import REPORTS

logger = logging.getLogger(__name__)

REMADE = (CANDIDATES, CELLS, CHANCE, REGISTERED)
"""The names of the files that are made again."""
TRIAL_ADVICE = (
    "put the file back from a copy, or delete the folder of the trial that it belongs to, which is "
    "then made up for by another"
)
"""The advice for the configuration of a trial."""


def repair(folder: StudyFolder, is_outdated: Callable[[str], bool] = lambda _: False) -> None:
    """Delete the damaged files that can be made again; a damaged trial is trained again.

    The tables and the report are rewritten at the end of a study in any case. Optuna's journal is
    written when the search ends, and not read by it.

    Args:
        folder: the study's folder.
        is_outdated: whether a trial, given by its id, is one that the study would not train now.
            If it is damaged, it is deleted.

    Raises:
        DamagedError: files that cannot be made again are damaged; the message names them.
    """
    folder.refuse_damaged()
    delete_temporary_files(folder.path)
    faults = []
    checksums = Checksums(folder.path)
    for name in checksums.names:
        path = folder.path / name
        if not path.exists() or checksums.matches(name, path.read_bytes()):
            continue
        if name in REMADE:
            logger.warning("%s is damaged, and made again", path)
            path.unlink(missing_ok=True)
        else:
            faults.append(f"damaged: {path}; put it back from a copy")
    _delete_outdated(folder, is_outdated)
    faults += _repair_trials(folder)
    for path in sorted((folder.path / "trials").iterdir()):
        config = path / "config.json"
        has_results = (path / "end.json").exists() or (path / REPORTS).exists()
        if has_results and not config.exists():
            faults.append(f"lost: {config}; {TRIAL_ADVICE}")
    if faults:
        raise DamagedError("\n".join(faults))


def _delete_outdated(folder: StudyFolder, is_outdated: Callable[[str], bool]) -> None:
    """Delete outdated trials that are damaged: nothing would train them again."""
    for path in sorted((folder.path / "trials").iterdir()):
        if not path.is_dir() or not is_outdated(path.name):
            continue
        damaged = folder.trial(path.name).damaged()
        if damaged:
            logger.warning(
                "%s is of an earlier plan of the study and has damaged files (%s); it is deleted",
                path,
                ", ".join(damaged),
            )
            shutil.rmtree(path, ignore_errors=True)


def _repair_trials(folder: StudyFolder) -> list[str]:
    """Reopen damaged trials, and return a fault for each whose configuration is damaged."""
    faults = []
    for trial in folder.trials():
        damaged = trial.damaged()
        if "config.json" in damaged:
            faults.append(f"damaged: {trial.path / 'config.json'}; {TRIAL_ADVICE}")
        elif damaged:
            logger.warning(
                "%s of %s damaged; the trial is trained again", ", ".join(damaged), trial.path
            )
            trial.reopen()
    return faults
