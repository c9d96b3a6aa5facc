"""CLIPFit's training: loss, optimizer, schedule, the step and an epoch, in the paper's order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from study.errors import StudyError
from study.method.model import FewShotClassifier
from study.method.parameters import TunedParameter

Optimizer = Literal["sgd", "adamw"]
Regularizer = Literal["cosine", "l2_init", "none"]
REGULARIZERS: tuple[Regularizer, ...] = get_args(Regularizer)


class NonFiniteLossError(StudyError):
    """A loss or a tuned parameter is infinite or not a number: the configuration diverged."""


@dataclass(frozen=True)
class Schedule:
    """The reference's learning rate per epoch, the same within an epoch.

    Epoch 0 warms up at a constant rate; then lr/2·(1 + cos(π(e−1)/T)) for epoch e of T. The
    cosine starts one epoch late and so ends a little above zero, as in the reference.
    """

    epochs: int
    """T, the warm-up included."""
    warmup_lr: float = 1e-5
    """Of epoch 0, unless the base rate is smaller still."""

    def learning_rate(self, base_lr: float, epoch: int) -> float:
        """Give the rate of an epoch, counted from 0."""
        if epoch == 0:
            return min(self.warmup_lr, base_lr)
        return base_lr / 2 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))


class Losses(NamedTuple):
    """The objective and its terms, each () float32."""

    loss: Tensor
    cross_entropy: Tensor
    distillation: Tensor
    """The regulariser before it is multiplied by λ."""

    def times(self, share: float) -> Losses:
        """Weigh every term, as of a part of a batch."""
        return Losses(*(share * term for term in self))

    def detach(self) -> Losses:
        """Let go of what a backward pass would need."""
        return Losses(*(term.detach() for term in self))


def objective(
    logits: Tensor,
    labels: Tensor,
    text: Tensor,
    zero_shot_text: Tensor,
    distill_weight: float,
    *,
    regularizer: Regularizer = "cosine",
    tuned: Sequence[TunedParameter] = (),
) -> Losses:
    """Cross-entropy + λ·(1 − mean over classes of cos(text, zero-shot text)).

    That is the paper's objective. For ablations another regulariser can stand in the
    distillation's place: the squared L2 distance to where the parameters began, or none.

    Args:
        logits: (batch, classes).
        labels: (batch,) int64.
        text: (classes, dim) unit-length features of the tuned text encoder.
        zero_shot_text: the same of the untouched one, computed without gradient.
        distill_weight: λ.
        regularizer: ``cosine`` is the distillation; ``l2_init`` is `distance_to_initial`; ``none``
            is 0 whatever λ.
        tuned: the tuned parameters, read by ``l2_init`` alone.

    Raises:
        ValueError: the regularizer is unknown, or ``l2_init`` was given no parameters.
    """
    cross_entropy = F.cross_entropy(logits, labels)
    match regularizer:
        case "cosine":
            distillation = 1 - F.cosine_similarity(text, zero_shot_text, dim=-1).mean()
        case "l2_init":
            distillation = distance_to_initial(tuned)
        case "none":
            distillation = torch.zeros_like(cross_entropy)
        case _:
            raise ValueError(f"regularizer is {regularizer!r}; allowed are {REGULARIZERS}")
    return Losses(cross_entropy + distill_weight * distillation, cross_entropy, distillation)


def distance_to_initial(tuned: Sequence[TunedParameter]) -> Tensor:
    """Give Σ‖θ − θ₀‖² over all tuned parameters, () float32.

    A sum over every number, neither halved nor averaged: its gradient at a parameter is 2(θ − θ₀),
    however many others are tuned. λ of it acts as a weight decay of 2λ, towards θ₀ and not to 0.
    """
    if not tuned:
        raise ValueError("the distance to the initial values needs tuned parameters, got none")
    return torch.stack([(t.parameter - t.initial).square().sum() for t in tuned]).sum()


def make_optimizer(
    tuned: Sequence[TunedParameter],
    *,
    bias_lr: float | None,
    ln_lr: float | None,
    optimizer: Optimizer = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> torch.optim.Optimizer:
    """Give the optimizer over all tuned parameters: one group a kind, with its learning rate.

    Weight decay acts on every tuned parameter, biases and LayerNorms included, as in the reference.

    Args:
        tuned: what is trained, at least one.
        bias_lr: learning rate of the kind ``bias``; None where the subset has none of it.
        ln_lr: the same of the kind ``ln``.
        optimizer: ``sgd`` is the reference's.
        momentum: of ``sgd``.
        weight_decay: added to the gradient by ``sgd``, decoupled from it by ``adamw``.

    Raises:
        ValueError: nothing is tuned, or a kind that is tuned has no learning rate.
    """
    if not tuned:
        raise ValueError("an optimizer needs tuned parameters, got none")
    rates = {"bias": bias_lr, "ln": ln_lr}
    groups = []
    for kind, rate in rates.items():
        parameters = [t.parameter for t in tuned if t.kind == kind]
        if not parameters:
            continue
        if rate is None:
            raise ValueError(f"{kind} parameters are tuned, but {kind}_lr is None")
        groups.append({"params": parameters, "lr": rate, "base_lr": rate, "kind": kind})
    if optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=weight_decay)
    return torch.optim.SGD(groups, momentum=momentum, weight_decay=weight_decay)


def training_step(
    classifier: FewShotClassifier,
    optimizer: torch.optim.Optimizer,
    pixel_values: Tensor,
    labels: Tensor,
    input_ids: Tensor,
    zero_shot_text: Tensor,
    distill_weight: float,
    *,
    regularizer: Regularizer = "cosine",
) -> Losses:
    """Take one step on one batch; give the losses before its update.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: over the tuned parameters.
        pixel_values: (batch, 3, size, size) float32, normalised.
        labels: (batch,) int64, positions in ``input_ids``.
        input_ids: (classes, length) int64, one prompt a class.
        zero_shot_text: (classes, dim) float32.
        distill_weight: λ.
        regularizer: see `objective`.

    Raises:
        NonFiniteLossError: the loss is infinite or not a number; nothing was updated.
    """
    text = classifier.encode_text(input_ids)
    image = classifier.encode_image(pixel_values)
    logits = classifier.logits(image, text)
    losses = objective(
        logits, labels, text, zero_shot_text, distill_weight,
        regularizer=regularizer, tuned=classifier.tuned,
    )  # fmt: skip
    refuse_non_finite_loss(losses.loss)
    optimizer.zero_grad(set_to_none=True)
    losses.loss.backward()
    optimizer.step()
    return losses.detach()


def train_epoch(
    classifier: FewShotClassifier,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    schedule: Schedule,
    epoch: int,
    input_ids: Tensor,
    zero_shot_text: Tensor,
    distill_weight: float,
    regularizer: Regularizer = "cosine",
) -> Losses:
    """Train one epoch; give the mean losses over its steps.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: from `make_optimizer`; the schedule sets its learning rates.
        batches: at least one of normalised images (batch, 3, size, size) float32 and labels
            (batch,) int64, on the model's device.
        schedule: learning rate per epoch.
        epoch: counted from 0.
        input_ids: as of `training_step`, like all that follow.
        zero_shot_text: features of the untouched text encoder.
        distill_weight: λ.
        regularizer: see `objective`.

    Raises:
        NonFiniteLossError: naming epoch and step; or a parameter is not finite after the last.
        ValueError: there are no batches.
    """
    set_learning_rates(optimizer, schedule, epoch)
    steps: list[Losses] = []
    for step, (pixel_values, labels) in enumerate(batches):
        try:
            losses = training_step(
                classifier, optimizer, pixel_values, labels, input_ids, zero_shot_text,
                distill_weight, regularizer=regularizer,
            )  # fmt: skip
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} in epoch {epoch}, step {step}") from None
        steps.append(losses)
    if not steps:
        raise ValueError(f"epoch {epoch} has no batches")
    refuse_non_finite(classifier.tuned, epoch)
    return mean_losses(steps)


def set_learning_rates(optimizer: torch.optim.Optimizer, schedule: Schedule, epoch: int) -> None:
    """Set each group's learning rate to that of an epoch."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate(group["base_lr"], epoch)


def refuse_non_finite_loss(loss: Tensor) -> None:
    """Look at a loss, (), before anything follows from it.

    Raises:
        NonFiniteLossError: it is infinite or not a number.
    """
    if not math.isfinite(loss.item()):
        raise NonFiniteLossError(f"the loss is {loss.item()}")


def refuse_non_finite(tuned: Sequence[TunedParameter], epoch: int) -> None:
    """Look at the parameters after an epoch: no later loss would tell of its last step.

    Raises:
        NonFiniteLossError: one is infinite or not a number.
    """
    if not torch.stack([t.parameter.isfinite().all() for t in tuned]).all():
        raise NonFiniteLossError(f"a tuned parameter is not finite after epoch {epoch}")


def mean_losses(steps: Sequence[Losses]) -> Losses:
    """Average losses term by term."""
    return Losses(*(torch.stack(terms).mean() for terms in zip(*steps, strict=True)))
