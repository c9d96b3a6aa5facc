"""CLIPFit's training: loss, optimizer, schedule, the step and an epoch, in the paper's order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.errors import StudyError
from study.method.freezing import TunedParameter
from study.method.model import FewShotClassifier

Optimizer = Literal["sgd", "adamw"]


class NonFiniteLossError(StudyError):
    """The loss of a step is infinite or not a number: the configuration diverged."""


@dataclass(frozen=True)
class Schedule:
    """The reference's learning rate per epoch, the same within an epoch.

    Epoch 0 warms up at a constant rate; then lr/2·(1 + cos(π(e−1)/T)) for epoch e of T. The
    cosine starts one epoch late and so ends a little above zero, as in the reference.
    """

    epochs: int
    warmup_lr: float = 1e-5

    def learning_rate(self, base_lr: float, epoch: int) -> float:
        """Give the rate of an epoch, counted from 0."""
        if epoch == 0:
            return self.warmup_lr
        return base_lr / 2 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))


class Losses(NamedTuple):
    """The terms of the objective, (): 0-dimensional tensors, or floats when averaged."""

    loss: Tensor
    cross_entropy: Tensor
    distillation: Tensor


def objective(
    logits: Tensor, labels: Tensor, text: Tensor, zero_shot_text: Tensor, distill_weight: float
) -> Losses:
    """Cross-entropy + λ·(1 − mean over classes of cos(text, zero-shot text)).

    Args:
        logits: (batch, classes).
        labels: (batch,) int64.
        text: (classes, dim) unit-length features of the tuned text encoder.
        zero_shot_text: the same of the untouched one; no gradient reaches it.
        distill_weight: λ.
    """
    cross_entropy = F.cross_entropy(logits, labels)
    distillation = 1 - F.cosine_similarity(text, zero_shot_text, dim=-1).mean()
    return Losses(cross_entropy + distill_weight * distillation, cross_entropy, distillation)


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
    """
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

    Raises:
        NonFiniteLossError: the loss is infinite or not a number; nothing was updated.
    """
    text = classifier.encode_text(input_ids)
    image = classifier.encode_image(pixel_values)
    losses = objective(classifier.logits(image, text), labels, text, zero_shot_text, distill_weight)
    if not math.isfinite(losses.loss.item()):
        raise NonFiniteLossError(f"the loss is {losses.loss.item()}")
    optimizer.zero_grad(set_to_none=True)
    losses.loss.backward()
    optimizer.step()
    return Losses(*(term.detach() for term in losses))


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
) -> Losses:
    """Train one epoch, counted from 0; give the mean losses over its steps.

    Raises:
        NonFiniteLossError: naming epoch and step.
    """
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate(group["base_lr"], epoch)
    steps: list[Losses] = []
    for step, (pixel_values, labels) in enumerate(batches):
        try:
            losses = training_step(
                classifier, optimizer, pixel_values, labels, input_ids, zero_shot_text,
                distill_weight,
            )  # fmt: skip
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} in epoch {epoch}, step {step}") from None
        steps.append(losses)
    return Losses(*(torch.stack(terms).mean() for terms in zip(*steps, strict=True)))
