"""Record the epochs of a trial, the state from which it can continue, and where it hung."""

import faulthandler
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import NamedTuple

from safetensors import SafetensorError

from study.method.delta import (
    DeltaInfo,
    Tensors,
    from_checked_bytes,
    read_info,
    to_checked_bytes,
    to_delta_bytes,
)
from study.storage.atomic import with_retries
from study.storage.result_folder import FolderError, JsonObject
from study.storage.trial_folder import PREDICTIONS, REPORTS, STATE, VALIDATION, TrialFolder
from study.trial.predictions import predictions_to_parquet
from study.trial.study import EpochReport, TrialData

logger = logging.getLogger(__name__)

HANG = "hang.txt"
"""The file with the place where each thread was when a trial hung."""


@contextmanager
def exit_after_time_limit(folder: TrialFolder, limit: float | None) -> Iterator[None]:
    """End this process if the block takes more than ``limit`` seconds; None means no limit.

    The limit acts outside the interpreter, which a hanging call may block. The process first writes
    the place where each of its threads is, for `read_hang`.
    """
    if limit is None:
        yield
        return
    path = folder.path / HANG
    with with_retries(path, lambda: path.open("w"), existing=folder.path.parent) as file:
        faulthandler.dump_traceback_later(limit, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    with_retries(path, lambda: path.unlink(missing_ok=True))


def read_hang(folder: TrialFolder) -> str | None:
    """Return where a trial hung; None if `exit_after_time_limit` did not end its last worker."""
    return (folder.read(HANG) or b"").decode(errors="replace") or None


def record_epochs(
    folder: TrialFolder, reports: Sequence[EpochReport], data: TrialData, info: DeltaInfo
) -> None:
    """Write some epochs to the trial's folder; the file written last makes them count.

    That file is the state or, after the last epoch, the reports.

    Args:
        folder: the trial's folder.
        reports: the reports of the epochs; only the state of the last one is used.
        data: the trial's data.
        info: what a delta's file says about it.
    """
    last = reports[-1]
    lines = map(_report_line, reports)
    if last.done:
        _save_deltas(folder, last.deltas, info)
        name = PREDICTIONS if data.split == "test" else VALIDATION
        folder.write(name, predictions_to_parquet(last.predictions), recorded=True)
        folder.append_reports(*lines, last=True)
    else:
        folder.append_reports(*lines)
        metadata = {"info": json.dumps(asdict(info)), "reports": json.dumps(folder.read_reports())}
        folder.write(STATE, to_checked_bytes(last.state, metadata))


def _report_line(report: EpochReport) -> JsonObject:
    """Return what a trial's file of reports says of an epoch."""
    line = {"epoch": report.epoch, "ended_at": round(report.ended_at, 3), **report.metrics}
    return line | ({"head": report.head, "scores": report.scores} if report.head else {})


class State(NamedTuple):
    """The state from which an unfinished trial continues."""

    epoch: int
    """The number of completed epochs."""
    tensors: Tensors
    """The tensors that `study.trial.run_trial.run_trial` needs to continue."""
    info: DeltaInfo
    """The facts for the deltas that the trial saves at its end."""
    reports: list[JsonObject]
    """The reports of the completed epochs."""


def load_state(folder: TrialFolder) -> State | None:
    """Return the state of a trial; None, if it has none or a damaged one: it starts afresh."""
    contents = folder.read(STATE)
    if contents is None:
        return None
    try:
        tensors, metadata = from_checked_bytes(contents)
        reports = json.loads(metadata["reports"])
        info = read_info(json.loads(metadata["info"]))
        return State(reports[-1]["epoch"], tensors, info, reports)
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        logger.warning("%s is damaged, so its trial starts again: %s", folder.path / STATE, error)
        return None


def restore_reports_of_state(folder: TrialFolder) -> None:
    """Restore the reports of an unfinished trial to those of its state.

    A trial that has all its reports, as its last epoch wrote them, keeps them. Reports are written
    before the state, so a crash between the two leaves some beyond it.
    """
    reports = None
    with suppress(FolderError):  # a damaged line; the state has them all
        reports = folder.read_reports()
    last = reports[-1]["epoch"] if reports else 0
    if last >= folder.read_config()["epochs"] and folder.reports_are_final():
        return
    start = load_state(folder)  # warns if the state cannot be used
    kept = start.reports if start else []
    if reports != kept:
        logger.warning(
            "%s does not match the state of its trial; the trial continues after epoch %d",
            folder.path / REPORTS,
            start.epoch if start else 0,
        )
        folder.write_reports(kept)
    if start is None:
        (folder.path / STATE).unlink(missing_ok=True)


def save_deltas_of_state(folder: TrialFolder) -> None:
    """Save the deltas after the last epoch of a trial that is stopped, if it has any."""
    state = load_state(folder)
    if state:
        _save_deltas(folder, _deltas_of(state.tensors), state.info)


def _deltas_of(tensors: Tensors) -> list[Tensors]:
    """Return the delta of each task in the tensors of a state."""
    parameters: dict[str, Tensors] = defaultdict(dict)
    deltas: dict[str, Tensors] = defaultdict(dict)
    for name, tensor in tensors.items():
        task, kind, *rest = name.split(".", 2)
        if kind == "parameter":
            parameters[task][rest[0]] = tensor
        if kind == "delta":
            deltas[task][rest[0]] = tensor
    # A delta stands beside the parameters only where it differs from them.
    by_task = deltas or parameters
    return [by_task[task] for task in sorted(by_task)]


def _save_deltas(folder: TrialFolder, deltas: Sequence[Tensors], info: DeltaInfo) -> None:
    """Write one delta per task; only a trial of one task has a delta that is used afterwards."""
    names = [f"delta-fold{task}.safetensors" for task in range(len(deltas))]
    if len(deltas) == 1:
        names = ["delta.safetensors"]
    for name, tensors in zip(names, deltas, strict=True):
        folder.write(name, to_delta_bytes(tensors, info), recorded=True)
