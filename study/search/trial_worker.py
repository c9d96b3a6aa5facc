"""Run the epochs of trials in this process, and record them."""

import logging
import platform
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import ray
import torch

from study.backbones.backbone import Backbone
from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.schema import BackboneConfig, StudyConfig
from study.errors import BackboneError, ConfigError, DataError, StudyError
from study.method.delta import DeltaInfo
from study.method.device import gpu_kind
from study.method.precision import cast_matrices
from study.method.training_options import Precision
from study.search.checkpoints import exit_after_time_limit, load_state, record_epochs
from study.search.recorded_trials import DataByStage
from study.search.scheduler import Result
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder
from study.trial.machine_faults import (
    DeviceError,
    OutOfMemoryError,
    free_memory,
    is_device_failure,
    is_out_of_memory,
)
from study.trial.run_trial import run_trial
from study.trial.study import EpochReport, TrialConfig

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 200
"""The maximum length of the line that names the cause of a failure."""


class TrialWorker:
    """Runs trials one after the other in this process; the backbone stays loaded between them.

    The results of a step are on disk before they are returned.

    Args:
        folder: the study's folder.
        settings: the configuration of the study.
    """

    def __init__(self, folder: StudyFolder, settings: StudyConfig) -> None:
        torch.set_num_threads(settings.resources.threads)
        self._study = folder
        self._settings = settings

    def start(self, trial: TrialConfig, data: DataByStage) -> None:
        """Start a trial, or continue it after its last recorded epoch.

        Args:
            trial: the trial.
            data: the data of its round, by stage and seed.
        """
        self.trial = trial
        self._trial_data = data[trial.stage][trial.seed]
        self.folder = self._study.trial(trial.trial_id)
        self._epoch = 0
        self._unrecorded: list[EpochReport] = []
        self._micro_batch: int | None = None
        self._reports: Iterator[EpochReport] | None = None

    def step(self, seconds: float = 0.0) -> Result:
        """Run at least one epoch, record it, and return the result of the last one.

        An exception ends the trial and is returned as its failure.

        Args:
            seconds: how long to go on with short epochs, at most to the next one with a score.

        Raises:
            DeviceError: the device failed; another process may continue the trial.
        """
        begin = time.monotonic()
        try:
            try:
                report = self._next_epoch()
                while not (report.done or report.scores) and time.monotonic() - begin < seconds:
                    report = self._next_epoch()
            finally:
                # Waiting for unavailable storage is no hang, so the limit does not apply to it.
                self._record()
        except StorageError as error:  # the study must end, but the trial can be resumed
            return self._result(score=0.0, done=True, failed=True, storage=True, error=str(error))
        except Exception as error:  # any other failure ends the trial, and the study continues
            if is_device_failure(error):
                raise DeviceError(one_line(error)) from error
            logger.warning("trial %s failed: %s", self.trial.trial_id, traceback.format_exc())
            return self._result(
                # The scheduler needs a number, and 0 makes no other trial stop.
                score=0.0,
                done=True,
                failed=True,
                reason=one_line(error),
                error=traceback.format_exc(),
                # A fault of the machine says nothing about the configuration.
                caused_by_settings=not isinstance(
                    error, (OSError, BackboneError, ConfigError, DataError)
                ),
            )
        return self._result(
            score=report.metrics.get(f"{self._trial_data.split}_score"),
            done=report.done,
            metrics=report.metrics,
        )

    def _next_epoch(self) -> EpochReport:
        """Run an epoch, within the limit of its time."""
        limit = self._settings.resources.max_epoch_seconds
        while True:
            with exit_after_time_limit(self.folder, limit), self._fewer_images_if_needed():
                self._reports = self._reports or self._start()
                report = next(self._reports)
                break
            free_memory()  # outside the block, whose error would keep the tensors alive
            self._record()  # where the epoch starts again
        self._unrecorded = [replace(one, state={}) for one in self._unrecorded]  # frees memory
        self._unrecorded.append(report)
        return report

    def _record(self) -> None:
        """Write the epochs that are not on disk yet."""
        reports, self._unrecorded = self._unrecorded, []  # none is written twice if that fails
        if reports:
            record_epochs(self.folder, reports, self._trial_data, self._info)
            self._epoch = reports[-1].epoch

    @contextmanager
    def _fewer_images_if_needed(self) -> Iterator[None]:
        """If memory runs out in the block, let its epoch begin again with half the micro-batch.

        Raises:
            OutOfMemoryError: one image at a time does not fit either.
        """
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            micro_batch = self._micro_batch or self.trial.training.batch_size
            if micro_batch == 1:
                raise OutOfMemoryError(
                    f"out of memory even with one image at a time ({one_line(error)})"
                ) from error
            logger.warning(
                "trial %s: out of memory with %d images at a time; the epoch starts again with %d "
                "(%s)",
                self.trial.trial_id,
                micro_batch,
                micro_batch // 2,
                one_line(error),
            )
            self._micro_batch = micro_batch // 2
            self._reports = None

    def _start(self) -> Iterator[EpochReport]:
        trial = self.trial
        precision = trial.training.trial_precision
        method = trial.settings.method
        if method and method.tunes_matrices:
            precision = "float32"
        config = self._settings.backbone
        backbone = load_once(config, trial_device(), precision)
        self._info = DeltaInfo(
            backbone=config.name,
            revision=config.revision,
            fingerprint=backbone.fingerprint,
            subset=trial.settings.subset,
            class_names=self._trial_data.class_names,
            templates=self._trial_data.templates,
            pixel_range=self._trial_data.reading.pixel_range,
        )
        start = load_state(self.folder)
        self.folder.write_reports(start.reports if start else [])
        after = start and start[:2]
        return run_trial(trial, self._trial_data, backbone, after, self._micro_batch)

    def _result(self, *, score: float | None, done: bool, **further: Any) -> Result:
        return {
            "epoch": self._epoch,
            "epochs": self.trial.epochs,
            "score": score,
            "done": done,
            "failed": False,
            **further,
        }


def trial_device() -> str:
    """Return the device on which this process trains: CUDA, else MPS if a GPU is assigned, or CPU.

    Raises:
        BackboneError: Ray assigned a GPU that PyTorch cannot use, so that the CPU would train.
    """
    device = gpu_kind()
    is_assigned = ray.is_initialized() and bool(ray.get_gpu_ids())
    if is_assigned and device is None:
        raise BackboneError(
            f"PyTorch {torch.__version__} cannot use the GPU that Ray assigned on "
            f"{platform.node()}; install a build for a CUDA version that the NVIDIA driver "
            "supports, or set resources.gpus_per_trial=0"
        )
    if device is not None and (is_assigned or device == "cuda"):
        return device
    return "cpu"


def one_line(error: BaseException) -> str:
    """Return an error's message in one line of at most `MOST_CHARACTERS`, plus an ellipsis.

    The type comes first, unless the error is one of this package.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, StudyError):
        kind = type(error).__name__
        text = f"{kind}: {text}" if text else kind
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}…"
    return text


@lru_cache(maxsize=1)
def load_once(backbone: BackboneConfig, device: str, held: Precision) -> Backbone:
    """Return the backbone, which this process loads when it is asked for another one than before.

    Args:
        backbone: the backbone's configuration.
        device: where its weights are.
        held: the precision that its frozen matrices are held in.
    """
    loaded = load_backbone(backbone_path(backbone.name), revision=backbone.revision)
    cast_matrices(loaded.clip, held)
    loaded.clip.to(device)
    return loaded
