"""The training of one task's model by 2SFS, see `study.method.two_stage`.

An epoch is an equal share of the steps of both stages, whatever the number of images. So each
stage has whole epochs, after which a trial is reported and may go on.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice, repeat

import torch
from torch import Tensor

from study.config.methods import TwoStage
from study.method.parameters import METHOD
from study.method.training import Batch, Schedule, make_optimizer
from study.method.training_options import TWO_STAGE_LR
from study.method.two_stage import FIRST_STAGE, SecondStage, cosine_rate
from study.trial.task_model import TaskModel
from study.trial.task_training import TaskTraining


class TwoStageTraining(TaskTraining):
    """The first stage's optimizer and then the second's, with the rows that this one trains.

    Args:
        model: see `TaskTraining`.
    """

    def __init__(self, model: TaskModel) -> None:
        super().__init__(model)
        train, epochs = model.task.train, model.config.epochs
        shots = len(train.records) / len(train.classes)
        self.steps = max(1, round(TwoStage.steps_per_shot * shots / epochs))
        """The number of steps of an epoch."""
        self._first_epochs = round(FIRST_STAGE * epochs)

    @property
    def images_per_epoch(self) -> int:
        """The number of images in the steps of an epoch; the last batch of a pass may be small."""
        images, size = len(self.model.task.train.records), self.model.config.training.batch_size
        passes, batches = divmod(self.steps, math.ceil(images / size))
        return passes * images + batches * size

    @contextmanager
    def batches(self, schedule: Schedule, epoch: int) -> Iterator[Iterator[Batch]]:
        """Return the batches of an epoch, counted from 0; each step has a rate of its own.

        Args:
            schedule: is not read.
            epoch: the epoch.
        """
        of_stage, epochs = epoch, self._first_epochs
        if epoch >= self._first_epochs:
            of_stage, epochs = epoch - epochs, self.model.config.epochs - epochs
            if self.model.rows is None:
                with torch.no_grad():
                    self._begin_second_stage(self.model.staged.encode_text(self.objective.prompts))
        yield self._batches_at_rates(epoch, of_stage * self.steps, epochs * self.steps)

    def state(self) -> dict[str, Tensor]:
        """See `TaskTraining.state`."""
        state = super().state()
        if self.model.rows is not None:
            state[f"{self._prefix}.rows"] = self.model.rows.detach().to("cpu", copy=True)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        rows = state.get(f"{self._prefix}.rows")
        if rows is not None:
            self._begin_second_stage(rows.to(self.model.classifier.device))
        super().load_state(state)

    def _begin_second_stage(self, rows: Tensor) -> None:
        second = SecondStage(self.model.staged, rows)
        self.classifier, self.model.rows = second, second.rows
        self.optimizer = make_optimizer(second.tuned, {METHOD: TWO_STAGE_LR}, self.objective.recipe)

    def _batches_at_rates(self, epoch: int, begin: int, steps: int) -> Iterator[Batch]:
        """Yield the batches of as many passes as the epoch's steps take.

        Args:
            epoch: the epoch.
            begin: the number of steps of the stage before this epoch.
            steps: that of the whole stage.
        """
        passes = chain.from_iterable(map(self._shuffled_batches, repeat(epoch)))
        for step, batch in enumerate(islice(passes, self.steps), begin):
            for group in self.optimizer.param_groups:
                group["lr"] = cosine_rate(group["base_lr"], step, steps)
            yield batch
