"""The training and evaluation of one trial, as an iterator of epoch reports.

Each task has a model of its own.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from study.backbones.backbone import Backbone
from study.config.trial_settings import TrialSettings
from study.method.delta import Tensors
from study.method.head import Head
from study.method.training import Schedule
from study.trial.cross_fitting import choose_head
from study.trial.evaluation import Evaluations, fold_scores
from study.trial.prediction import Prediction
from study.trial.study import EpochReport, TrialConfig, TrialData
from study.trial.task_evaluation import evaluate_task
from study.trial.task_model import make_task_model
from study.trial.task_training import TaskTraining, train_tasks


def run_trial(
    config: TrialConfig,
    data: TrialData,
    backbone: Backbone,
    start: tuple[int, Tensors] | None = None,
    micro_batch: int | None = None,
    siblings: Sequence[TrialConfig] = (),
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
        siblings: trials of the same training, whose result is used with another head, strength or
            calibration. This trial's last report contains theirs, which equal the reports of
            trials that run alone.

    Raises:
        NonFiniteLossError: the trial diverged.
    """
    trial = _RunningTrial(config, data, backbone, micro_batch)
    schedule = Schedule(max(config.epochs, 1), config.training.warmup_lr)
    trainings: list[TaskTraining] = []
    if config.epochs:
        trainings += map(TaskTraining, trial.models)
    epoch, state = start or (0, {})
    if state:
        for training in trainings:
            training.load_state(state)
    done = False
    while not done:
        began = time.perf_counter()
        metrics = {}
        if config.epochs:
            metrics = train_tasks(trainings, schedule, epoch)
            epoch += 1
        if micro_batch is not None:
            metrics["micro_batch"] = micro_batch
        done = epoch >= config.epochs
        trained = EpochReport(epoch, done, metrics)
        uses = [config.settings]
        if done:
            uses += [sibling.settings for sibling in siblings]
        report, *others = trial.reports(trained, uses)
        report.metrics["seconds"] = time.perf_counter() - began
        for other in others:
            other.metrics["seconds"] = 0.0  # it shares all work with the first report
        if not done:
            report = replace(report, state=_state(trainings, report.deltas))
        yield replace(report, siblings=tuple(others))


def _state(trainings: Sequence[TaskTraining], deltas: Sequence[Tensors]) -> Tensors:
    """Return the state of all trainings, with the deltas of their models if there are any."""
    state: Tensors = {}
    deltas = deltas or [{}] * len(trainings)
    for training, delta in zip(trainings, deltas, strict=True):
        state |= training.state(delta)
    return state


class _RunningTrial:
    """The models of a trial's tasks.

    Args:
        config: the trial's configuration.
        data: the trial's data.
        backbone: the backbone, which stays unchanged.
        micro_batch: see `run_trial`.
    """

    def __init__(
        self, config: TrialConfig, data: TrialData, backbone: Backbone, micro_batch: int | None
    ) -> None:
        self._config = config
        self._data = data
        self.models = [
            make_task_model(config, data, backbone, index, micro_batch)
            for index in range(len(data.tasks))
        ]

    def reports(self, trained: EpochReport, uses: Sequence[TrialSettings]) -> list[EpochReport]:
        """Return the report of each use of the models, without a state.

        Validation images are evaluated after the epochs that the configuration names, and all
        images after the last one.

        Args:
            trained: the epoch, with the metrics of the training alone.
            uses: the settings of the uses.
        """
        scored_at = self._config.scored_at
        is_validated = self._data.split == "val" and (
            scored_at is None or trained.epoch in scored_at
        )
        if not trained.done and not is_validated:
            return [self._report(trained, use, ()) for use in uses]
        by_task = [evaluate_task(model, uses) for model in self.models]
        by_use = zip(uses, *by_task, strict=True)
        return [self._report(trained, use, evaluated) for use, *evaluated in by_use]

    def _report(
        self,
        trained: EpochReport,
        use: TrialSettings,
        evaluated: Sequence[Evaluations],
    ) -> EpochReport:
        """Return the report of one use of the models.

        Args:
            trained: the epoch, with the metrics of the training alone.
            use: the settings of the use.
            evaluated: the evaluations of each task, one per head; empty without an evaluation.
        """
        metrics = dict(trained.metrics)
        scored: Evaluations = ()
        heads: Sequence[Head | None] = [None] * len(self.models)
        if evaluated:
            choice = choose_head(evaluated, self._data)
            scored = choice.scored
            heads = [evaluation.head for evaluation in choice.shipped]
            for name, score in choice.scores.items():
                metrics[f"{self._data.split}_{name}"] = score
            training = choice.shipped[0].training
            if training is not None:
                for name, value in training._asdict().items():
                    metrics[f"head_{name}"] = value
        deltas: tuple[Tensors, ...] = ()
        if use.writes_delta:
            pairs = zip(self.models, heads, strict=True)
            deltas = tuple(model.delta(use, head) for model, head in pairs)
        predictions: list[Prediction] = []
        for evaluation in scored:
            predictions += evaluation.predictions(self._data)
        return replace(
            trained,
            metrics=metrics,
            deltas=deltas,
            predictions=predictions,
            folds=fold_scores(scored, self._data),
        )
