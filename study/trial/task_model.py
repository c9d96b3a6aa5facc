"""The model of one task: its untrained classifier, and its tuned parameters after training."""

from __future__ import annotations

from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.delta import Tensors, head_tensors
from study.method.head import Head
from study.method.model import interpolate
from study.trial.build_model import build_model
from study.trial.study import TrialConfig, TrialData


class TaskModel:
    """The model of one task, untrained at first.

    `study.trial.task_training` trains its classifier in place, and `study.trial.task_evaluation`
    reads it as it is.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        index: the position of the task among the trial's tasks; it varies the seed.
        micro_batch: see `study.trial.run_trial.run_trial`.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        backbone: Backbone,
        index: int,
        micro_batch: int | None = None,
    ) -> None:
        self.config, self.data, self.index, self.micro_batch = config, data, index, micro_batch
        self.task = data.tasks[index]
        """The task to train and evaluate."""
        self.seed = config.seed * 1_000_003 + index
        """The seed of batches, augmentation and dropout, another one for each task."""
        self.images_at_once = config.training.eval_batch_size
        """The number of images that pass the encoder at once in an evaluation."""
        if micro_batch is not None:
            reduced = self.images_at_once * micro_batch // config.training.batch_size
            self.images_at_once = max(1, reduced)
        self.staged, self.distill_weight, self.views = build_model(
            config.settings,
            backbone,
            seed=self.seed,
            precision=config.training.trial_precision,
            shots=len(self.task.train.records) / len(self.task.train.classes),
        )
        self.classifier = self.staged.classifier
        self.rows: Tensor | None = None
        """The rows of a head that a second stage trains, (classes, dim); None before it."""

    def parameters(self) -> Tensors:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        copies = {}
        for tuned in self.classifier.tuned:
            copies[tuned.name] = tuned.parameter.detach().to("cpu", copy=True).contiguous()
        return copies

    def delta(self, head: Head | None) -> Tensors:
        """Return the tuned parameters at the α of the trial, and a head's tensors, on the CPU.

        Their names are those of `study.method.delta`.
        """
        with interpolate(self.classifier.tuned, self.config.settings.alpha):
            return {**self.parameters(), **head_tensors(head)}
