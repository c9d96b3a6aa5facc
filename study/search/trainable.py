"""A Tune trainable around the trial iterator: one worker process, one loaded backbone."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.result import DONE

from study.backbones import backbone_path
from study.config import BackboneConfig
from study.files import StorageError
from study.ledger import StudyFolder
from study.method.delta import DeltaInfo
from study.method.model import Backbone, load_backbone
from study.method.training import NonFiniteLossError
from study.search.recording import load_state, record_epoch
from study.trial import EpochReport, TrialConfig, TrialData, run_trial

logger = logging.getLogger(__name__)


class ClipFitTrainable(tune.Trainable):
    """Runs trials one after the other in one process; an epoch is a step.

    What an epoch gave is on disk before Tune hears of it. A worker that dies is replaced, and the
    trial goes on from its last epoch, on whatever node that happens.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        folder: Path,
        backbone: BackboneConfig,
        data: Mapping[str, TrialData],
        threads: int,
    ) -> None:
        """Take what all trials of this process share, and begin the first.

        Args:
            config: a `TrialConfig` as a mapping.
            folder: the study's folder.
            backbone: which checkpoint; loaded once a process.
            data: by `data_key`.
            threads: of PyTorch, so that trials do not crowd each other out.
        """
        torch.set_num_threads(threads)
        self._study = StudyFolder(folder)
        self._backbone = backbone
        self._data = data
        self._reports: Iterator[EpochReport] | None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process; the backbone stays loaded."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Run one epoch and record it; a trial that raises ends, and says why in its folder."""
        try:
            if self._reports is None:
                self._reports = self._start()
            report = next(self._reports)
            record_epoch(self._folder, report, self._trial_data, self._info)
        except StorageError as error:  # the trial is as good as it was, its study cannot go on
            return self._result(score=0.0, done=True, error=str(error)) | {"storage": True}
        except Exception as error:  # whatever a trial met, the study goes on
            return self._fail(error)
        self._epoch = report.epoch
        score = report.metrics.get(f"{self._trial_data.split}_score")
        return self._result(score=score, done=report.done)

    def _begin(self, config: dict[str, Any]) -> None:
        self._trial = TrialConfig.model_validate(config)
        self._folder = self._study.trial(self._trial.trial_id)
        self._epoch = 0
        self._reports = None

    def _start(self) -> Iterator[EpochReport]:
        self._trial_data = self._data[data_key(self._trial)]
        backbone = _load_once(
            self._backbone.name, self._backbone.revision, cuda=torch.cuda.is_available()
        )
        self._info = DeltaInfo(
            backbone=self._backbone.name,
            revision=self._backbone.revision,
            fingerprint=backbone.fingerprint,
            subset=self._trial.subset,
            class_names=self._trial_data.class_names,
            templates=self._trial_data.templates,
        )
        start = load_state(self._folder)
        self._folder.keep_reports(start[0] if start else 0)
        return run_trial(self._trial, self._trial_data, backbone, start)

    def _fail(self, error: Exception) -> dict[str, Any]:
        text = traceback.format_exc()
        logger.warning("trial %s failed: %s", self._trial.trial_id, text)
        # 0, since a scheduler takes no gap and no other trial is stopped for it.
        diverged = isinstance(error, NonFiniteLossError)
        return self._result(score=0.0, done=True, error=text, diverged=diverged)

    def _result(
        self, *, score: float | None, done: bool, error: str | None = None, diverged: bool = False
    ) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "epochs": self._trial.epochs,
            "score": score,
            "error": error,
            "failed": error is not None,
            "diverged": diverged,
            DONE: done,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the state is in the trial's folder after every epoch."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""


def data_key(config: TrialConfig) -> str:
    """Name the data of a trial among those that the driver prepared."""
    return f"{config.stage}/{config.seed}"


@lru_cache(maxsize=1)
def _load_once(name: str, revision: str | None, *, cuda: bool) -> Backbone:
    backbone = load_backbone(backbone_path(name), revision=revision)
    if cuda:
        backbone.clip.to("cuda")
    return backbone
