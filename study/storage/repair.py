"""A look at a study's files before it goes on: what was damaged is named, and made again."""

from __future__ import annotations

import logging

from study.storage.ledger import LedgerError, StudyFolder

logger = logging.getLogger(__name__)

MADE_AGAIN = ("candidates.json", "cells.json", "registered.json")
"""What follows from the trials."""


def repair(folder: StudyFolder) -> None:
    """Take back what is damaged and can be made again; a trial is then trained once more.

    The tables and the report are made anew at the end of a study in any case, Optuna's journal
    where its search goes on.

    Raises:
        LedgerError: naming the files that nothing else tells the contents of.
    """
    folder.refuse_damaged()
    lost, of_trials = [], []
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
            of_trials.append(trial.path / "config.json")
        elif damaged:
            logger.warning(
                "%s of %s damaged; the trial is trained again", ", ".join(damaged), trial.path
            )
            trial.reopen()
    faults = []
    if lost:
        faults.append(f"damaged: {', '.join(map(str, lost))}; put it back from a copy")
    if of_trials:
        faults.append(
            f"damaged: {', '.join(map(str, of_trials))}; put the file back from a copy, or delete "
            "the folder of the trial that it belongs to, which is then made up for by another"
        )
    if faults:
        raise LedgerError("\n".join(faults))
