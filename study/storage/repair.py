"""The repair of a study's folder: what can be made again is deleted, what cannot is named."""

import logging
import shutil

from study.storage.atomic import Checksums, delete_temporary_files
from study.storage.ledger_files import DamagedError
from study.storage.study_folder import (
    CANDIDATES,
    CELLS,
    CHANCE,
    OPTIMISM,
    REGISTERED,
    StudyFolder,
)
from study.storage.trial_folder import REPORTS

logger = logging.getLogger(__name__)

MENDS_A_TRIAL = (
    "put the file back from a copy, or delete the folder of the trial that it belongs to, which is "
    "then made up for by another"
)
"""The advice for the configuration of a trial."""


def repair(folder: StudyFolder) -> None:
    """Delete the damaged files that can be made again; a damaged trial is trained again.

    The tables and the report are rewritten at the end of a study in any case. Optuna's journal is
    repaired when the search continues.

    Raises:
        DamagedError: files are damaged that cannot be made again; the message names them.
    """
    folder.refuse_damaged()
    for path in folder.path.glob(".adding-*"):  # of a process that died
        shutil.rmtree(path, ignore_errors=True)
    delete_temporary_files(folder.path)
    faults: list[str] = []
    sums = Checksums(folder.path)
    for name in sums.names:
        path = folder.path / name
        if not path.exists() or sums.matches(name, path.read_bytes()):
            continue
        if name in (CANDIDATES, CELLS, OPTIMISM, CHANCE, REGISTERED):
            logger.warning("%s is damaged, and made again from the trials", path)
            path.unlink(missing_ok=True)
        else:
            faults.append(f"damaged: {path}; put it back from a copy")
    for trial in folder.trials():
        damaged = trial.damaged()
        if "config.json" in damaged:
            faults.append(f"damaged: {trial.path / 'config.json'}; {MENDS_A_TRIAL}")
        elif damaged:
            logger.warning(
                "%s of %s damaged; the trial is trained again", ", ".join(damaged), trial.path
            )
            trial.reopen()
    for path in sorted((folder.path / "trials").iterdir()):
        config, results = path / "config.json", (path / "end.json", path / REPORTS)
        if not config.exists() and any(file.exists() for file in results):
            faults.append(f"lost: {config}; {MENDS_A_TRIAL}")
    if faults:
        raise DamagedError("\n".join(faults))
