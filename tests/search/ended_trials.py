"""Ended trials of a study, which validation chooses among."""

from collections.abc import Mapping
from typing import Any

from study.storage.trial_folder import End, Status
from tests.written_study import EPOCHS, Written

BASELINES = ("zero-shot", "clipfit")


def add(
    written: Written,
    score: float,
    *,
    status: Status | None = "finished",
    report: Mapping[str, Any] | None = None,
    **given: Any,
) -> str:
    """Write a trial that ended, with a last report."""
    if given.get("label") in BASELINES:
        given["group"] = "baseline"
    config = written.trial(len(list(written.folder.trials())), **given)
    trial = written.folder.trial(config.trial_id)
    trial.append_report({"epoch": EPOCHS - 1, "val_score": 1.0})
    if status == "finished":
        trial.append_report({"epoch": EPOCHS, "val_score": score, "head": "text", **(report or {})})
    if status is not None:
        trial.write_end(End(status, EPOCHS, 1.0, reason="boom"))
    return config.trial_id
