"""The training and evaluation of one trial, as an iterator of epoch reports."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from study.config.schema import Protocol
from study.config.settings import rate_column
from study.method.evaluation import accuracy, confusion, hmean
from study.method.model import Backbone
from study.method.training import Schedule, mean_losses
from study.trial.schema import EpochReport, TrialConfig, TrialData
from study.trial.task import Pack, TaskRun, pack


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
    runs = [TaskRun(config, data, backbone, task, index) for index, task in enumerate(data.tasks)]
    packs = pack(runs, backbone, micro_batch)
    epoch, state = start or (0, {})
    for run in runs if state else ():
        run.load_state(state)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    while True:
        began = time.perf_counter()
        metrics: dict[str, float] = {}
        images = 0
        if config.epochs:
            means = mean_losses([loss for p in packs for loss in p.train_epoch(schedule, epoch)])
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
        confusions: dict[str, Tensor] = {}
        if data.split == "val" or done:
            scores, confusions = _evaluate(packs, data)
            metrics |= {f"{data.split}_{name}": value for name, value in scores.items()}
        metrics["seconds"] = time.perf_counter() - began
        yield EpochReport(
            epoch=epoch,
            done=done,
            metrics=metrics,
            state={} if done else {k: v for run in runs for k, v in run.state().items()},
            deltas=tuple(run.delta() for run in runs),
            confusions=confusions,
        )
        if done:
            return


def score(parts: Mapping[str, float], protocol: Protocol) -> dict[str, float]:
    """Return the accuracies of the parts and ``score``, the number that ranks trials.

    The score is, in few-shot, the accuracy; in base-to-new, the harmonic mean of base and new, or
    base if there is no new part; in transfer, the mean over the targets without the source, or the
    source's accuracy if there are no targets; in zero-shot, the mean over all datasets.

    Args:
        parts: the accuracy of each part, as a fraction; the source's part is ``accuracy``.
        protocol: the protocol of the study.
    """
    if set(parts) == {"accuracy"}:
        return {**parts, "score": parts["accuracy"]}
    if protocol in ("transfer", "zero_shot"):
        targets = {name: value for name, value in parts.items() if name != "accuracy"}
        named = {"source": parts["accuracy"], **targets}
        counted = targets if protocol == "transfer" else named
        return {**named, "score": sum(counted.values()) / len(counted)}
    if "new" not in parts:
        return {**parts, "score": parts["base"]}
    mean = hmean(parts["base"], parts["new"])
    return {**parts, "hmean": mean, "score": mean}


def mean(accuracies: Sequence[float]) -> float:
    """Return the average over tasks, rounded so that equal averages are equal numbers.

    Ties between trials are then broken by their rule. Without rounding, folds with 41, 46, 47 and
    47 of 50 correct average to less than folds with 45, 45, 45 and 46.
    """
    return round(sum(accuracies) / len(accuracies), 12)


def _evaluate(packs: Sequence[Pack], data: TrialData) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the scores and, by part, the confusion counts.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    predicted: dict[str, list[Tensor]] = defaultdict(list)
    true: dict[str, list[Tensor]] = defaultdict(list)
    for part, predictions, labels in (result for p in packs for result in p.predict()):
        parts[part.name].append(accuracy(predictions, labels))
        predicted[part.name].append(predictions)
        true[part.name].append(labels)
    means = {name: mean(values) for name, values in parts.items()}
    confusions = {
        name: confusion(
            torch.cat(predicted[name]), torch.cat(true[name]), len(data.class_names_of(name))
        )
        for name in parts
    }
    return score(means, data.protocol), confusions
