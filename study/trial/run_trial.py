"""The training and evaluation of one trial, as an iterator of epoch reports.

Each task has a model of its own.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.trial_settings import TrialSettings, rate_column
from study.method.head import Head
from study.method.training import Schedule, mean_losses
from study.trial.cross_fitting import choose_head
from study.trial.evaluation import Evaluation, fold_scores, predictions
from study.trial.study import EpochReport, TrialConfig, TrialData
from study.trial.task_evaluation import evaluate_task
from study.trial.task_model import TaskModel, make_task_model
from study.trial.task_training import TaskTraining, learning_rates


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Mapping[str, Tensor]] | None = None,
    micro_batch: int | None = None,
    siblings: Sequence[TrialConfig] = (),
) -> Iterator[EpochReport]:
    """Train and evaluate one trial; yield a report after every epoch.

    The reports depend on the arguments only, not on what ran before in this process.

    Args:
        config: the trial's configuration.
        data: the trial's images, classes and tasks.
        backbone: the backbone, loaded once per process; it stays unchanged.
        start: the number of completed epochs and the state reported after them.
        micro_batch: the number of images that pass through the encoders at once, if a whole batch
            does not fit into memory; evaluation batches shrink in proportion. It changes results
            by rounding only, beside what LoRA's dropout draws, and is reported among the metrics.
        siblings: trials of the same training, whose result is used with another head, strength or
            calibration. Their last reports, which are what they would report alone, stand in this
            trial's last one.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    models = [
        make_task_model(config, backbone, task, index, micro_batch=micro_batch)
        for index, task in enumerate(data.tasks)
    ]
    trainings: list[TaskTraining] = []
    if config.epochs:
        trainings = [
            TaskTraining(model, config, data, task.train, index)
            for index, (model, task) in enumerate(zip(models, data.tasks, strict=True))
        ]
    epoch, state = start or (0, {})
    if state:
        for training in trainings:
            training.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    micro: dict[str, float] = {} if micro_batch is None else {"micro_batch": micro_batch}
    done = False
    while not done:
        began = time.perf_counter()
        metrics = dict(micro)
        if config.epochs:
            means = mean_losses([training.train_epoch(schedule, epoch) for training in trainings])
            metrics = {
                "train_loss": means.loss.item(),
                "cross_entropy": means.cross_entropy.item(),
                "distillation": means.distillation.item(),
            }
            for kind, rate in learning_rates(config.settings).items():
                metrics[rate_column(kind)] = schedule.learning_rate(rate, epoch)
            images = sum(training.images_per_epoch for training in trainings)
            metrics |= {**micro, "images_per_second": images / (time.perf_counter() - began)}
            epoch += 1
        done = epoch >= config.epochs
        uses = [config.settings, *(sibling.settings for sibling in siblings if done)]
        looks = config.scored_at is None or epoch in config.scored_at
        by_use: Iterable[Sequence[Sequence[Evaluation]]] = [()]
        if done or (data.split == "val" and looks):
            pairs = zip(models, data.tasks, strict=True)
            evaluated = [evaluate_task(model, data, task, uses) for model, task in pairs]
            by_use = zip(*evaluated, strict=True)
        report, *others = (
            _report(models, data, use, own, epoch, done=done, metrics=metrics)
            for use, own in zip(uses, by_use, strict=True)
        )
        report.metrics["seconds"] = time.perf_counter() - began
        for other in others:
            other.metrics["seconds"] = 0.0  # nothing was done for it alone
        states: dict[str, Tensor] = {}
        if not done:
            deltas: Sequence[Mapping[str, Tensor]] = report.deltas or [{}] * len(trainings)
            for training, delta in zip(trainings, deltas, strict=True):
                states |= training.state(delta)
        yield replace(report, state=states, siblings=tuple(others))


def _report(
    models: Sequence[TaskModel],
    data: TrialData,
    use: TrialSettings,
    evaluated: Sequence[Sequence[Evaluation]],
    epoch: int,
    *,
    done: bool,
    metrics: Mapping[str, float],
) -> EpochReport:
    """Return the report of an epoch for one use of what was trained, without a state.

    Args:
        models: the models of the tasks.
        data: the trial's data.
        use: the use.
        evaluated: the evaluations of each task, one per head; empty without an evaluation.
        epoch: the number of completed epochs.
        done: whether it was the last one.
        metrics: the metrics of the training.
    """
    scored: Sequence[Evaluation] = ()
    heads: Sequence[Head | None] = [None] * len(models)
    own = dict(metrics)
    if evaluated:
        choice = choose_head(evaluated, data)
        own |= {f"{data.split}_{name}": value for name, value in choice.scores.items()}
        training = choice.shipped[0].training
        if training is not None:
            own |= {f"head_{name}": value for name, value in training._asdict().items()}
        scored = choice.scored
        heads = [one.head for one in choice.shipped]
    deltas = tuple(model.delta(use, head) for model, head in zip(models, heads, strict=True))
    return EpochReport(
        epoch=epoch,
        done=done,
        metrics=own,
        state={},
        deltas=deltas if use.writes_delta else (),
        predictions=predictions(scored, data),
        folds=fold_scores(scored, data),
    )
