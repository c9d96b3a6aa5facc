"""CLIPFit's training: schedule, loss, optimizer, one step in the paper's order, one epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.errors import StudyError, SubsetError
from study.method.balance import ClassBalance
from study.method.model import Classifier, TunedParameter
from study.method.parameters import METHOD, kind_names
from study.method.training_options import (
    MOMENTUM,
    WARMUP_LR,
    WEIGHT_DECAY,
    Optimizer,
    Regularizer,
    WantedBalance,
)

Batch = tuple[Tensor, Tensor]
"""Images and their labels, as `training_step` takes them."""


class NonFiniteLossError(StudyError):
    """A loss or tuned parameter that is infinite or not a number: the configuration diverged."""


@dataclass(frozen=True)
class Recipe:
    """How parameters are trained, apart from their learning rates and λ.

    A study sets it by the keys of its section ``training`` that have the names of these fields.
    """

    optimizer: Optimizer = "sgd"
    """``sgd`` (the reference's) or ``adamw``."""
    momentum: float = MOMENTUM
    """The momentum of ``sgd``; ``adamw`` does not read it."""
    weight_decay: float = WEIGHT_DECAY
    """Is added to the gradient by ``sgd``, and decoupled from it by ``adamw``."""
    regularizer: Regularizer = "cosine"
    """The loss term that λ weighs: ``cosine`` is the distillation; ``l2_init`` is Σ‖θ − θ₀‖² over
    all tuned parameters, which acts as a weight decay of 2λ towards θ₀; ``none`` is 0 for any λ."""
    balance: WantedBalance = "none"
    """How classes of unequal size are made up for, see `study.method.balance.class_balance`."""


REFERENCE = Recipe()
"""The recipe of the paper's reference implementation."""


def read_recipe(keys: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a study, from the keys of its section ``training``."""
    return Recipe(**{field.name: keys[field.name] for field in fields(Recipe)})


class Schedule(NamedTuple):
    """The reference's learning rate, which is constant within each epoch.

    Epoch 0 warms up at a constant rate; then lr/2·(1 + cos(π(e−1)/T)) for epoch e of T. The
    cosine starts one epoch late and so ends a little above zero, as in the reference.
    """

    epochs: int
    """T, the number of epochs, the warm-up included."""

    def learning_rate(self, base_lr: float, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch == 0:
            return min(WARMUP_LR, base_lr)
        angle = math.pi * (epoch - 1) / self.epochs
        return base_lr / 2 * (1 + math.cos(angle))

    def set_rates(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Set the learning rates of an epoch, counted from 0, before it begins.

        Args:
            optimizer: the optimizer, from `make_optimizer`.
            epoch: the epoch.
        """
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(group["base_lr"], epoch)


class Losses(NamedTuple):
    """The objective and its terms, each () float32."""

    loss: Tensor
    """The objective: cross-entropy + λ · distillation."""
    cross_entropy: Tensor
    distillation: Tensor
    """The regulariser, before it is multiplied by λ."""


@dataclass(frozen=True)
class Objective:
    """What every step of a training minimises: cross-entropy + λ·(1 − mean of cos(text, text₀)).

    ``text`` are the features of the prompts now, and text₀ those before training. The mean is over
    classes. For ablations, another regulariser can replace the distillation: the squared L2
    distance of the parameters to their initial values, or none.
    """

    prompts: Any
    """The prompt of each class: (classes, length) int64, or `StagedClassifier.begin_prompts`."""
    zero_shot_text: Tensor
    """text₀, (classes, dim) float32: unit-length features of the untouched text encoder, without
    gradient."""
    distill_weight: float
    """λ."""
    recipe: Recipe = REFERENCE
    """The recipe, which names the regulariser."""
    balance: ClassBalance | None = None
    """What makes up for classes of unequal size; None leaves the cross-entropy as it is."""

    def losses(
        self, logits: Tensor, labels: Tensor, text: Tensor, tuned: Sequence[TunedParameter] = ()
    ) -> Losses:
        """Return the objective and its terms on a batch.

        Args:
            logits: (batch, classes).
            labels: (batch,) int64, rows of the prompts.
            text: (classes, dim) unit-length features of the tuned text encoder.
            tuned: the tuned parameters, which only ``l2_init`` reads.
        """
        if self.balance is None:
            cross_entropy = F.cross_entropy(logits, labels)
        else:
            cross_entropy = self.balance.cross_entropy(logits, labels)
        match self.recipe.regularizer:
            case "cosine":
                similarity = F.cosine_similarity(text, self.zero_shot_text, dim=-1)
                distillation = 1 - similarity.mean()
            case "l2_init":
                distances = [(one.parameter - one.initial).square().sum() for one in tuned]
                distillation = torch.stack(distances).sum()
            case "none":
                distillation = torch.zeros_like(cross_entropy)
        loss = cross_entropy + self.distill_weight * distillation
        return Losses(loss, cross_entropy, distillation)


def make_optimizer(
    tuned: Sequence[TunedParameter],
    rates: Mapping[str, float],
    recipe: Recipe = REFERENCE,
) -> torch.optim.Optimizer:
    """Return the optimizer of all tuned parameters, with one group and learning rate for each kind.

    Weight decay acts on every tuned parameter, biases and LayerNorms included, as in the reference.

    Args:
        tuned: the parameters to train, at least one.
        rates: the learning rate by kind; kinds that are not tuned need none.
        recipe: which optimizer, and its momentum and weight decay.

    Raises:
        KeyError: a tuned kind has no learning rate.
    """
    groups = []
    for kind in [*kind_names(), METHOD]:
        parameters = [of_kind.parameter for of_kind in tuned if of_kind.kind == kind]
        if parameters:
            rate = rates[kind]
            groups.append({"params": parameters, "lr": rate, "base_lr": rate, "kind": kind})
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def training_step(
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    objective: Objective,
    *,
    micro_batch: int | None = None,
) -> Losses:
    """Take one optimizer step on a batch and return the losses before the update.

    A batch that does not fit into memory passes in micro-batches. Their gradients add up to those
    of the whole batch, up to rounding.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: the optimizer of the tuned parameters.
        images: (batch, 3, size, size) float32, normalised; or `StagedClassifier.begin_images`.
        labels: (batch,) int64, rows of the prompts.
        objective: the prompts, and what the step minimises.
        micro_batch: the number of images that pass the encoder at once; None means all.

    Raises:
        NonFiniteLossError: a loss is infinite or not a number; nothing was updated.
        SubsetError: a tuned parameter got no gradient in the first step; nothing was updated.
    """
    optimizer.zero_grad(set_to_none=True)
    encoded = classifier.encode_text(objective.prompts)
    # Micro-batches add their gradients here, so that these pass through the text encoder once.
    text = encoded.detach().requires_grad_()
    summands = []
    size = micro_batch or len(labels)
    for some_images, their_labels in zip(images.split(size), labels.split(size), strict=True):
        logits = classifier.logits(classifier.encode_image(some_images), text)
        losses = objective.losses(logits, their_labels, text, classifier.tuned)
        if not math.isfinite(losses.loss.item()):
            raise NonFiniteLossError(f"the loss is {losses.loss.item()}")
        share = len(their_labels) / len(labels)
        (share * losses.loss).backward()
        summands.append([share * term.detach() for term in losses])  # frees the graph's memory
    if encoded.requires_grad:
        encoded.backward(text.grad)
    # There is no state before the first update, and later steps are alike. Zeros are a gradient.
    if not optimizer.state:
        missing = [one.name for one in classifier.tuned if one.parameter.grad is None]
        if missing:
            raise SubsetError(
                f"{len(missing)} tuned tensors have no gradient, such as {missing[0]}; the model's "
                "features do not depend on them"
            )
    optimizer.step()
    return Losses._make(torch.stack(terms).sum() for terms in zip(*summands, strict=True))


def train_epoch(
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    objective: Objective,
    *,
    epoch: int,
    micro_batch: int | None = None,
) -> Losses:
    """Train for one epoch and return the mean losses over its steps.

    The learning rates are those of the optimizer; `Schedule.set_rates` sets them.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: the optimizer of the tuned parameters.
        batches: at least one pair of images and labels, see `training_step`.
        objective: the prompts, and what each step minimises.
        epoch: the epoch's number, counted from 0, for messages.
        micro_batch: see `training_step`.

    Raises:
        NonFiniteLossError: a loss is not finite, with epoch and step in the message; or a tuned
            parameter is not finite after the last step.
        SubsetError: see `training_step`.
        ValueError: there are no batches.
    """
    steps = []
    for step, (images, labels) in enumerate(batches):
        try:
            losses = training_step(
                classifier, optimizer, images, labels, objective, micro_batch=micro_batch
            )
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} in epoch {epoch}, step {step}") from None
        steps.append(losses)
    if not steps:
        raise ValueError(f"epoch {epoch} has no batches")
    # The losses are computed before each update, so none of them shows the last step.
    are_finite = [
        tuned_parameter.parameter.isfinite().all() for tuned_parameter in classifier.tuned
    ]
    if not torch.stack(are_finite).all():
        raise NonFiniteLossError(f"a tuned parameter is not finite after epoch {epoch}")
    return mean_losses(steps)


def mean_losses(steps: Sequence[Losses]) -> Losses:
    """Return the mean of each term over the steps."""
    return Losses._make(torch.stack(terms).mean() for terms in zip(*steps, strict=True))
