"""The worker that runs trials, and what it records of each for another worker to go on from."""

import faulthandler
import json
import logging
import platform
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from safetensors import SafetensorError
from torch import Tensor

from study.config.schema import BackboneConfig
from study.config.settings import Settings
from study.errors import BackboneError, ConfigError, DataError, StudyError
from study.method.checkpoint import backbone_path
from study.method.delta import (
    DeltaInfo,
    delta_contents,
    from_checked_bytes,
    read_info,
    to_checked_bytes,
)
from study.method.model import Backbone, load_backbone
from study.storage.atomic import StorageError, with_retries
from study.storage.ledger import PREDICTIONS, REPORTS, End, StudyFolder, TrialFolder
from study.trial import EpochReport, TrialConfig, TrialData
from study.trial.machine_faults import (
    DeviceError,
    OutOfMemoryError,
    free_memory,
    is_device_failure,
    is_out_of_memory,
)
from study.trial.predictions import to_parquet
from study.trial.run import run_trial

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 200
"""The maximum length of the line that names the cause of a failure."""
STATE = "state.safetensors"
"""The file of the state after a trial's last epoch, removed when the trial ends."""
HANG = "hang.txt"
"""The file with the place where each thread was when a trial hung."""


class ClipFitTrainable(tune.Trainable):
    """A worker that runs trials one after the other in one process; a step is an epoch.

    An epoch's results are on disk before Tune receives them. If a worker dies, another one, on any
    node, continues the trial after its last recorded epoch.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        folder: Path,
        backbone: BackboneConfig,
        data: Mapping[str, TrialData],
        threads: int,
        max_epoch_seconds: float | None,
    ) -> None:
        """Store what all trials of this process share, and start the first trial.

        Args:
            config: the first trial's `TrialConfig` as a mapping.
            folder: the study's folder.
            backbone: the backbone's configuration; the checkpoint is loaded once per process.
            data: the data of the trials, by ``STAGE/SEED``.
            threads: the number of PyTorch threads, limited so that trials share the machine.
            max_epoch_seconds: the time limit of an epoch, in seconds, at which this process ends
                itself; None means no limit.
        """
        torch.set_num_threads(threads)
        self._study = StudyFolder(folder)
        self._backbone = backbone
        self._data = data
        self._max_epoch_seconds = max_epoch_seconds
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process; the backbone stays loaded."""
        self._trial = TrialConfig.model_validate(new_config)
        self._folder = self._study.trial(self._trial.trial_id)
        self._epoch = 0
        self._micro_batch: int | None = None
        self._reports: Iterator[EpochReport] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Run one epoch and record it; an exception ends the trial and is returned as its failure.

        Raises:
            DeviceError: the device failed; Tune then replaces this process.
        """
        try:
            with watched(self._folder, self._max_epoch_seconds):
                report = self._next_report()
            # Waiting for unavailable storage is no hang, so the limit does not apply to it.
            record_epoch(self._folder, report, self._trial_data, self._info)
        except StorageError as error:  # the study must end, but the trial can be resumed
            return self._result(score=0.0, done=True, failed=True, storage=True, error=str(error))
        except Exception as error:  # any other failure ends the trial, and the study continues
            if is_device_failure(error):
                raise DeviceError(one_line(error)) from error
            logger.warning("trial %s failed: %s", self._trial.trial_id, traceback.format_exc())
            return self._result(
                # The scheduler needs a number, and 0 makes no other trial stop.
                score=0.0,
                done=True,
                failed=True,
                reason=one_line(error),
                error=traceback.format_exc(),
                # A fault of the machine says nothing about the configuration.
                unfit=not isinstance(error, (OSError, BackboneError, ConfigError, DataError)),
            )
        self._epoch = report.epoch
        return self._result(
            score=report.metrics.get(f"{self._trial_data.split}_score"), done=report.done
        )

    def _next_report(self) -> EpochReport:
        """Run one epoch; if memory runs out, repeat it with half the micro-batch.

        Raises:
            OutOfMemoryError: one image at a time does not fit either.
        """
        while True:
            self._reports = self._reports or self._start()
            try:
                return next(self._reports)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                micro_batch = self._micro_batch or self._trial.training.batch_size
                if micro_batch == 1:
                    raise OutOfMemoryError(
                        f"out of memory with one image at a time ({one_line(error)})"
                    ) from error
                logger.warning(
                    "trial %s: out of memory with %d images at a time; its epoch begins again with "
                    "%d (%s)",
                    *(self._trial.trial_id, micro_batch, micro_batch // 2, one_line(error)),
                )
            # This runs outside the handler, whose traceback would keep the tensors alive.
            self._micro_batch = micro_batch // 2
            self._reports = None
            free_memory()

    def _start(self) -> Iterator[EpochReport]:
        self._trial_data = self._data[f"{self._trial.stage}/{self._trial.seed}"]
        backbone = _load_once(self._backbone.name, self._backbone.revision, cuda=has_gpu())
        self._info = DeltaInfo(
            backbone=self._backbone.name,
            revision=self._backbone.revision,
            fingerprint=backbone.fingerprint,
            subset=self._trial.settings.subset,
            class_names=self._trial_data.class_names,
            templates=self._trial_data.templates,
            pixel_range=self._trial_data.pixel_range,
        )
        start = load_state(self._folder)
        self._folder.keep_reports(start[0] if start else 0)
        return run_trial(self._trial, self._trial_data, backbone, start, self._micro_batch)

    def _result(self, *, score: float | None, done: bool, **failure: Any) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "epochs": self._trial.epochs,
            "score": score,
            tune.result.DONE: done,
            "failed": False,
            **failure,
        }


def has_gpu() -> bool:
    """Return whether this process trains on a GPU.

    Raises:
        BackboneError: Ray assigned a GPU that PyTorch cannot use, so that the CPU would train.
    """
    usable = torch.cuda.is_available()
    if not usable and ray.is_initialized() and ray.get_gpu_ids():
        raise BackboneError(
            f"a trial has a GPU of {platform.node()} (resources.gpus_per_trial) that PyTorch "
            f"{torch.__version__} cannot use; allowed is a build for a CUDA that the NVIDIA driver "
            "there knows, or resources.gpus_per_trial=0"
        )
    return usable


def one_line(error: BaseException) -> str:
    """Return an error's message in one line of at most `MOST_CHARACTERS`, plus an ellipsis.

    The type comes first, unless the error is one of this package.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, StudyError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


@lru_cache(maxsize=1)
def _load_once(name: str, revision: str | None, *, cuda: bool) -> Backbone:
    backbone = load_backbone(backbone_path(name), revision=revision)
    backbone.clip.to("cuda" if cuda else "cpu")
    return backbone


@contextmanager
def watched(folder: TrialFolder, limit: float | None) -> Iterator[None]:
    """End this process if the block takes more than ``limit`` seconds; None means no limit.

    The limit acts outside the interpreter, which a hanging call may block. The process first writes
    the place where each of its threads is, for `read_hang`.
    """
    if limit is None:
        yield
        return
    path = folder.path / HANG
    with (
        with_retries(path, lambda: path.open("w"), known=folder.path.parent) as file,
        ExitStack() as stack,
    ):
        faulthandler.dump_traceback_later(limit, exit=True, file=file)
        stack.callback(faulthandler.cancel_dump_traceback_later)
        yield
    with_retries(path, lambda: path.unlink(missing_ok=True))


def read_hang(folder: TrialFolder) -> str | None:
    """Return where a trial hung; None if its last worker did not end by `watched`."""
    return (folder.read(HANG) or b"").decode(errors="replace") or None


def record_epoch(
    folder: TrialFolder, report: EpochReport, data: TrialData, info: DeltaInfo
) -> None:
    """Write an epoch to the trial's folder; the file written last makes the epoch count.

    That file is the state or, after the last epoch, the report.

    Args:
        folder: the trial's folder.
        report: the epoch's report.
        data: the trial's data.
        info: what a delta's file says about it.
    """
    ended_at = round(time.time(), 3)
    line: dict[str, Any] = {"epoch": report.epoch, "ended_at": ended_at, **report.metrics}
    if report.folds:
        line["folds"] = report.folds
    if report.done:
        _save_deltas(folder, report.deltas, info)
        if data.split == "test":
            folder.write(PREDICTIONS, to_parquet(report.predictions))
        folder.append_report(line, last=True)
    else:
        folder.append_report(line)
        metadata = {
            "epoch": str(report.epoch),
            "info": json.dumps(asdict(info)),
            "reports": folder.reports_digest(report.epoch),
        }
        folder.write(STATE, to_checked_bytes(report.state, metadata))


def load_state(folder: TrialFolder) -> tuple[int, dict[str, Tensor]] | None:
    """Return the number of completed epochs and the state after them; None means start afresh.

    If the state is damaged, or the reports of its epochs have changed, the trial starts again.
    """
    state = _read_state(folder)
    if state is not None and state.follows(folder):
        return state.epoch, state.tensors
    if state is not None:
        logger.warning(
            "%s does not hold the reports of its %d epochs as they were written; the trial begins "
            "again",
            folder.path / REPORTS,
            state.epoch,
        )
    return None


def drop_unproven_reports(folder: TrialFolder) -> None:
    """Drop the reports of an unfinished trial that lie beyond its state.

    A trial that has all its reports, as its last epoch wrote them, keeps them. A crash leaves at
    most one report beyond the state, since an epoch writes its report first; more mean damage.
    """
    reports = folder.read_reports()
    complete = bool(reports) and reports[-1]["epoch"] >= folder.read_config()["epochs"]
    final = folder.reports_are_final()
    # Older versions recorded no checksum; a state of theirs that follows its reports is trusted.
    if complete and final is None and (state := _read_state(folder)):
        final = state.reports is None and state.follows(folder)
    if complete and final:
        return
    without_state = folder.read(STATE) is None
    start = load_state(folder)  # warns if the state cannot be used
    kept = start[0] if start else 0
    if (start or without_state) and (complete or len(reports) > kept + 1):
        logger.warning(
            "%s holds reports that no epoch of the trial wrote; it goes on from epoch %d",
            folder.path / REPORTS,
            kept,
        )
    if len(reports) > kept:
        folder.keep_reports(kept)
    if start is None:
        (folder.path / STATE).unlink(missing_ok=True)


def close_trial(folder: TrialFolder, end: End) -> None:
    """Record how a trial ended; if it was stopped early, also save its deltas, if it has any."""
    writes_delta = Settings.as_written(folder.read_config()).writes_delta
    if end.status == "stopped" and writes_delta and (state := _read_state(folder)):
        kept: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in state.tensors.items():
            task, kind, *rest = name.split(".", 2)
            if kind in ("parameter", "delta"):
                kept[f"{kind} {task}"][rest[0]] = tensor
        # A delta stands beside the parameters only where it differs from them.
        kind = "delta" if any(name.startswith("delta") for name in kept) else "parameter"
        deltas = [kept[name] for name in sorted(kept) if name.startswith(kind)]
        _save_deltas(folder, deltas, state.info)
    folder.write_end(end)
    (folder.path / HANG).unlink(missing_ok=True)


def _save_deltas(
    folder: TrialFolder, deltas: Sequence[Mapping[str, Tensor]], info: DeltaInfo
) -> None:
    """Write one delta per task; only a trial of one task has a delta that is used afterwards."""
    for index, tensors in enumerate(deltas):
        name = "delta.safetensors" if len(deltas) == 1 else f"delta-fold{index}.safetensors"
        if tensors:
            folder.write(name, delta_contents(tensors, info))


@dataclass(frozen=True)
class _State:
    """The state from which an unfinished trial continues."""

    epoch: int
    """The number of completed epochs."""
    tensors: dict[str, Tensor]
    """The tensors that `study.trial.run.run_trial` needs to continue."""
    info: DeltaInfo
    """The facts for the deltas that the trial saves at its end."""
    reports: str | None
    """The SHA-256 of the reports of these epochs; None in a state of an older version."""

    def follows(self, folder: TrialFolder) -> bool:
        """Return whether the folder has the reports of its epochs, as they were written."""
        epochs = [report["epoch"] for report in folder.read_reports()[: self.epoch]]
        return epochs == list(range(1, self.epoch + 1)) and (
            self.reports in (None, folder.reports_digest(self.epoch))
        )


def _read_state(folder: TrialFolder) -> _State | None:
    if (contents := folder.read(STATE)) is None:
        return None
    try:
        tensors, metadata = from_checked_bytes(contents)
        return _State(
            epoch=int(metadata["epoch"]),
            tensors=tensors,
            info=read_info(json.loads(metadata["info"])),
            reports=metadata.get("reports"),
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s is damaged, the trial begins again: %s", folder.path / STATE, error)
        return None
