"""The training and evaluation of one trial, as an iterator of epoch reports."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from study.config.settings import rate_column
from study.method.evaluation import accuracy
from study.method.model import Backbone
from study.method.training import Schedule, mean_losses
from study.trial.confusion import mean
from study.trial.schema import EpochReport, Prediction, TrialConfig, TrialData
from study.trial.task import TaskRun


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Mapping[str, Tensor]] | None = None,
    micro_batch: int | None = None,
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
            by rounding only, and is reported among the metrics.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    runs = [
        TaskRun(config, data, backbone, task, index, micro_batch=micro_batch)
        for index, task in enumerate(data.tasks)
    ]
    epoch, state = start or (0, {})
    for run in runs if state else ():
        run.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    while True:
        began = time.perf_counter()
        metrics: dict[str, float] = {}
        images = 0
        if config.epochs:
            means = mean_losses([run.train_epoch(schedule, epoch) for run in runs])
            metrics = {
                "train_loss": means.loss.item(),
                "cross_entropy": means.cross_entropy.item(),
                "distillation": means.distillation.item(),
            } | {
                rate_column(kind): schedule.learning_rate(rate, epoch)
                for kind, rate in config.settings.rates.items()
            }
            images = sum(run.images_per_epoch for run in runs)
            epoch += 1
        if micro_batch is not None:
            metrics["micro_batch"] = micro_batch
        trained = time.perf_counter()
        if images:
            metrics["images_per_second"] = images / (trained - began)
        done = epoch >= config.epochs
        predictions: list[Prediction] = []
        if data.split == "val" or done:
            scores, predictions = _evaluate(runs, data)
            metrics |= {f"{data.split}_{name}": value for name, value in scores.items()}
        metrics["seconds"] = time.perf_counter() - began
        yield EpochReport(
            epoch=epoch,
            done=done,
            metrics=metrics,
            state={} if done else {k: v for run in runs for k, v in run.state().items()},
            deltas=tuple(run.delta() for run in runs),
            predictions=predictions,
        )
        if done:
            return


def _evaluate(
    runs: Sequence[TaskRun], data: TrialData
) -> tuple[dict[str, float], list[Prediction]]:
    """Return the scores and the predictions.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    predictions = []
    for part, predicted, probabilities in (result for run in runs for result in run.predict()):
        labels = torch.tensor([record.label for record in part.records])
        parts[part.name].append(accuracy(predicted, labels))
        names = data.class_names_of(part.name)
        found = zip(part.records, predicted.tolist(), probabilities.tolist(), strict=True)
        predictions += [
            Prediction(part.name, record.path, names[record.label], names[class_id], probability)
            for record, class_id, probability in found
        ]
    means = {name: mean(values) for name, values in parts.items()}
    return data.protocol.score(means), predictions
