"""The training of one task's model, epoch by epoch, with the state to continue from."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from study.config.trial_settings import rate_column
from study.method.balance import class_balance
from study.method.lora import apply_dropout
from study.method.model import Classifier
from study.method.parameters import METHOD
from study.method.training import (
    Batch,
    Losses,
    Objective,
    Schedule,
    make_optimizer,
    mean_losses,
    read_recipe,
)
from study.trial.activations import begin_images, begin_prompts, zero_shot_text
from study.trial.task_features import augment_images, cached_views, labels_of, tokenize
from study.trial.task_model import TaskModel


class TaskTraining:
    """The optimizer of a task's model, its random generator, and its prompts.

    Args:
        model: the model, whose classifier is trained in place; its index names the state.
    """

    def __init__(self, model: TaskModel) -> None:
        self.model = model
        config, data, train = model.config, model.data, model.task.train
        self._prefix = f"task{model.index}"
        self._generator = torch.Generator().manual_seed(model.seed)
        self.classifier: Classifier = model.staged
        """What the next step trains."""
        rates = config.settings.rates
        if config.settings.method:
            rates = {METHOD: config.settings.method.rate}
        recipe = read_recipe(vars(config.training))
        self.optimizer = make_optimizer(model.classifier.tuned, rates, recipe)
        self._paths = train.paths
        self._labels = labels_of(train).to(model.classifier.device)
        self._views = None
        if data.augment and model.views is not None:
            self._views = cached_views(model, self._paths, model.views)
        input_ids = tokenize(model, data.own_target, train.classes)
        self.objective = Objective(
            begin_prompts(model.staged, input_ids, data.caches),
            zero_shot_text(model.classifier, input_ids, data.caches),
            model.distill_weight,
            recipe,
            class_balance(recipe.balance, self._labels, len(train.classes)),
        )

    @property
    def images_per_epoch(self) -> int:
        """The number of training images used in an epoch.

        An incomplete last batch is dropped, as in the reference, unless it is the only one.
        """
        images = len(self._paths)
        size = self.model.config.training.batch_size
        if self.model.data.epoch_images is not None:
            images = min(images, self.model.data.epoch_images)
        if images < size:
            return images
        return images // size * size

    @contextmanager
    def batches(self, schedule: Schedule, epoch: int) -> Iterator[Iterator[Batch]]:
        """Set the rates and the dropout of an epoch, counted from 0, and return its batches.

        Args:
            schedule: the schedule of the learning rates.
            epoch: the epoch.
        """
        schedule.set_rates(self.optimizer, epoch)
        dropout_seed = (self.model.seed * 10_007 + epoch) % 2**63
        with apply_dropout(self.model.classifier, dropout_seed):
            yield self._shuffled_batches(epoch)

    def _shuffled_batches(self, epoch: int) -> Iterator[Batch]:
        """Yield each batch of an epoch, shuffled: begun images and labels, (batch,) int64."""
        model, labels, data = self.model, self._labels, self.model.data
        view = None
        if self._views is not None:
            view = self._views[epoch % len(self._views)]
        order = torch.randperm(len(self._paths), generator=self._generator)
        for rows in order[: self.images_per_epoch].split(model.config.training.batch_size):
            paths = [self._paths[row] for row in rows]
            if view is not None:
                images = view[rows.to(view.device)]
            elif data.augment:
                images = augment_images(model, paths, self._generator)
            else:
                images = begin_images(model.staged, data.train_images, paths)
            yield images, labels[rows.to(labels.device)]

    def state(self) -> dict[str, Tensor]:
        """Return copies of the parameters, optimizer state and generator state on the CPU.

        The delta is part of the state where it differs from the parameters, for a trial that is
        stopped.
        """
        model = self.model
        tensors = {f"parameter.{name}": value for name, value in model.parameters().items()}
        if model.config.settings.alpha != 1 and model.config.settings.writes_delta:
            tensors |= {f"delta.{name}": value for name, value in model.delta(None).items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, value in values.items():
                copied = torch.as_tensor(value).detach().to("cpu", copy=True)
                tensors[f"optimizer.{index}.{key}"] = copied
        tensors["generator"] = self._generator.get_state()
        return {f"{self._prefix}.{name}": tensor for name, tensor in tensors.items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for tuned in self.model.classifier.tuned:
            tuned.parameter.copy_(state[f"{self._prefix}.parameter.{tuned.name}"])
        prefix = f"{self._prefix}.optimizer."
        optimizer: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in state.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".")
                optimizer[int(index)][key] = value
        optimizer_state = self.optimizer.state_dict()
        optimizer_state["state"] = dict(optimizer)
        self.optimizer.load_state_dict(optimizer_state)
        self._generator.set_state(state[f"{self._prefix}.generator"])


def training_metrics(
    trainings: Sequence[TaskTraining], losses: Sequence[Losses]
) -> dict[str, float]:
    """Return the metrics of an epoch: losses, averaged over the tasks, and the last learning rates.

    Args:
        trainings: the trainings of the tasks; their rates are the same.
        losses: the mean losses of each.
    """
    mean = mean_losses(losses)
    metrics = {
        "train_loss": mean.loss.item(),
        "cross_entropy": mean.cross_entropy.item(),
        "distillation": mean.distillation.item(),
    }
    for group in trainings[0].optimizer.param_groups:
        metrics[rate_column(group["kind"])] = group["lr"]
    return metrics
