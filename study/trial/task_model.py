"""The model of one task: its untrained classifier, and its tuned parameters after training."""

from __future__ import annotations

from dataclasses import dataclass

from study.backbones.backbone import Backbone
from study.data.tasks import Task
from study.method.delta import Tensors, head_tensors
from study.method.head import Head
from study.method.model import FewShotClassifier, apply_strength
from study.method.peer_model import PeerModel
from study.method.peers import PEERS, PeerStart
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial.study import TrialConfig, TrialData


@dataclass(frozen=True, kw_only=True)
class TaskModel(PeerModel):
    """The model of one task.

    `study.trial.task_training` trains its classifier in place, and `study.trial.task_evaluation`
    reads it as it is.
    """

    config: TrialConfig
    """The trial's configuration."""
    data: TrialData
    """The trial's data."""
    task: Task
    """The task to train and evaluate."""
    index: int
    """The position of the task among the trial's tasks."""
    seed: int
    """The seed of batches, augmentation and dropout, another one for each task."""
    micro_batch: int | None
    """See `study.trial.run_trial.run_trial`."""
    images_at_once: int
    """The number of images that pass the encoder at once in an evaluation."""

    def parameters(self) -> Tensors:
        """Return copies of the tuned parameters on the CPU, by transformers name."""
        copies = {}
        for tuned in self.classifier.tuned:
            copies[tuned.name] = tuned.parameter.detach().to("cpu", copy=True).contiguous()
        return copies

    def delta(self, head: Head | None) -> Tensors:
        """Return the tuned parameters at the trial's strength, and a head's tensors, on the CPU.

        Their names are those of `study.method.delta`.
        """
        with apply_strength(self.classifier.tuned, self.config.settings.strength):
            return {**self.parameters(), **head_tensors(head)}


def make_task_model(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    index: int,
    micro_batch: int | None = None,
) -> TaskModel:
    """Return the untrained model of a task.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        index: the position of the task among the trial's tasks; it varies the seed.
        micro_batch: see `study.trial.run_trial.run_trial`.
    """
    task = data.tasks[index]
    seed = config.seed * 1_000_003 + index
    settings = config.settings
    precision = config.training.trial_precision
    if settings.peer:
        start = PeerStart(
            backbone=backbone,
            numbers=settings.peer.numbers,
            seed=seed,
            precision=precision,
            shots=len(task.train.records) / len(task.train.classes),
        )
        untrained = PEERS[settings.peer.method].build(start)
    else:
        classifier = FewShotClassifier(backbone, parse(settings.subset), precision=precision)
        staged = StagedClassifier(classifier)
        untrained = PeerModel(classifier, staged, settings.distill_weight)
    at_once = config.training.eval_batch_size
    if micro_batch is not None:
        at_once = max(1, at_once * micro_batch // config.training.batch_size)
    return TaskModel(
        **vars(untrained),
        config=config,
        data=data,
        task=task,
        index=index,
        seed=seed,
        micro_batch=micro_batch,
        images_at_once=at_once,
    )
