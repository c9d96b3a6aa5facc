"""The repair of a study's damaged files before it continues."""

import logging

from study.storage.ledger import CANDIDATES, CELLS, REGISTERED, LedgerError, StudyFolder

logger = logging.getLogger(__name__)

MADE_AGAIN = (CANDIDATES, CELLS, REGISTERED)
"""Files of a study that are made again from its trials."""


def repair(folder: StudyFolder) -> None:
    """Delete the damaged files that can be made again; a damaged trial is trained again.

    The tables and the report are rewritten at the end of a study in any case. Optuna's journal is
    repaired when the search continues.

    Raises:
        LedgerError: files are damaged that cannot be made again; the message names them.
    """
    folder.refuse_damaged()
    lost, configs = [], []
    for name in folder.damaged():
        path = folder.path / name
        if name in MADE_AGAIN:
            logger.warning("%s is damaged, and made again from the trials", path)
            path.unlink(missing_ok=True)
        else:
            lost.append(path)
    for trial in folder.trials():
        damaged = trial.damaged()
        if "config.json" in damaged:
            configs.append(trial.path / "config.json")
        elif damaged:
            logger.warning(
                "%s of %s damaged; the trial is trained again", ", ".join(damaged), trial.path
            )
            trial.reopen()
    faults = []
    if lost:
        faults.append(f"damaged: {', '.join(map(str, lost))}; put it back from a copy")
    if configs:
        faults.append(
            f"damaged: {', '.join(map(str, configs))}; put the file back from a copy, or delete "
            "the folder of the trial that it belongs to, which is then made up for by another"
        )
    if faults:
        raise LedgerError("\n".join(faults))
