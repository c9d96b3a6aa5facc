"""The training and evaluation of one trial, as an iterator of epoch reports.

Each task has a model of its own. Where the trial is scored, all of its heads are.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from study.backbones.backbone import Backbone
from study.config.methods import TwoStage
from study.config.trial_settings import Head
from study.method.delta import Tensors
from study.method.training import Schedule, train_epoch
from study.trial.predictions import scores_of_test, trial_scores
from study.trial.study import EpochReport, TrialConfig, TrialData
from study.trial.task_evaluation import evaluate_task
from study.trial.task_model import TaskModel
from study.trial.task_training import TaskTraining, training_metrics
from study.trial.two_stage_training import TwoStageTraining


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Tensors] | None = None,
    micro_batch: int | None = None,
) -> Iterator[EpochReport]:
    """Train and evaluate one trial; yield a report after every epoch.

    The reports depend on the arguments only, not on what ran before in this process.

    Args:
        config: the trial's configuration.
        data: the trial's images, classes and tasks.
        backbone: the backbone, loaded once per process; it stays unchanged.
        start: the number of completed epochs, and the state reported after them.
        micro_batch: the number of images that pass through the encoders at once, if a whole batch
            does not fit into memory; evaluation batches shrink in proportion. It is reported among
            the metrics. It changes results by rounding, and by the dropout that LoRA draws.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    models = [
        TaskModel(config, data, backbone, index, micro_batch) for index in range(len(data.tasks))
    ]
    schedule = Schedule(max(config.epochs, 1))
    trainings: list[TaskTraining] = []
    if config.epochs:
        is_two_stage = isinstance(config.settings.method, TwoStage)
        trainings += map(TwoStageTraining if is_two_stage else TaskTraining, models)
    epoch, state = start or (0, {})
    if state:
        for training in trainings:
            training.load_state(state)
    del start, state  # which may be large
    done = False
    while not done:
        began = time.perf_counter()
        metrics = {}
        if config.epochs:
            losses = []
            for training in trainings:
                with training.batches(schedule, epoch) as batches:
                    mean = train_epoch(
                        training.classifier,
                        training.optimizer,
                        batches,
                        training.objective,
                        epoch=epoch,
                        micro_batch=micro_batch,
                    )
                losses.append(mean)
            metrics = training_metrics(trainings, losses)
            images = sum(training.images_per_epoch for training in trainings)
            metrics["images_per_second"] = images / (time.perf_counter() - began)
            epoch += 1
        if micro_batch is not None:
            metrics["micro_batch"] = micro_batch
        done = epoch >= config.epochs
        report = EpochReport(epoch, done, metrics)
        is_rung = data.scored_at is None or epoch in data.scored_at
        if done or (data.split == "val" and is_rung):
            report = _evaluate(report, config, data, models)
        report.metrics["seconds"] = time.perf_counter() - began
        left = [] if done else trainings
        # No name holds the state while the next epoch is trained.
        yield replace(
            report,
            state=dict(chain.from_iterable(training.state().items() for training in left)),
            ended_at=time.time(),
        )


def _evaluate(
    trained: EpochReport, config: TrialConfig, data: TrialData, models: Sequence[TaskModel]
) -> EpochReport:
    """Return the report of an epoch with the scores of each head.

    The trial's own score is that of the head that it is used with. If none is given, this is the
    better one on validation.

    Args:
        trained: the report of the training alone.
        config: the trial's configuration.
        data: the trial's data.
        models: the models of its tasks.
    """
    by_task = [evaluate_task(model) for model in models]
    by_head = {
        head: list(chain.from_iterable(predictions[head] for predictions, _ in by_task))
        for head in data.heads_of(config.settings)
    }
    scores_of = scores_of_test if data.split == "test" else trial_scores
    scores = {head: scores_of(one, data.protocol) for head, one in by_head.items()}
    better: Head = max(scores, key=lambda head: scores[head].get("score", 0.0))
    head = config.settings.head or better
    metrics = {f"{data.split}_{name}": value for name, value in scores[head].items()}
    for one, scores_of_head in scores.items():
        if scores_of_head:
            metrics[f"{data.split}_score_{one}"] = scores_of_head["score"]
    deltas: tuple[Tensors, ...] = ()
    if config.settings.writes_delta:
        pairs = zip(models, by_task, strict=True)
        deltas = tuple(
            model.delta(linear if head == "linear" else None) for model, (_, linear) in pairs
        )
    return replace(
        trained,
        metrics=trained.metrics | metrics,
        head=head,
        scores=scores,
        deltas=deltas,
        predictions=list(chain.from_iterable(by_head.values())),
    )
