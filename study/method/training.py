"""CLIPFit's training: schedule, loss, optimizer, one step in the paper's order, one epoch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from study.errors import StudyError, SubsetError
from study.method.model import Classifier, PromptsT, TunedParameter
from study.method.parameters import PEER, kind_names
from study.method.recipe import MOMENTUM, WARMUP_LR, WEIGHT_DECAY, Optimizer, Regularizer


class NonFiniteLossError(StudyError):
    """A loss or tuned parameter that is infinite or not a number: the configuration diverged."""


@dataclass(frozen=True)
class Recipe:
    """How parameters are trained, beside their learning rates and λ.

    A study sets it by the keys of its section ``training`` that have the names of these fields.
    """

    optimizer: Optimizer = "sgd"
    """``sgd`` (the reference's) or ``adamw``."""
    momentum: float = MOMENTUM
    """The momentum of ``sgd``; ``adamw`` does not read it."""
    weight_decay: float = WEIGHT_DECAY
    """Is added to the gradient by ``sgd``, and decoupled from it by ``adamw``."""
    regularizer: Regularizer = "cosine"
    """The loss term that λ weighs: ``cosine`` is the distillation; ``l2_init`` is
    `distance_to_initial`; ``none`` is 0 for any λ."""


REFERENCE = Recipe()
"""The recipe of the paper's reference implementation."""


def recipe_of(keys: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a study, by the keys of its section ``training``."""
    return Recipe(**{own.name: keys[own.name] for own in fields(Recipe)})


@dataclass(frozen=True)
class Schedule:
    """The reference's learning rate, which is constant within each epoch.

    Epoch 0 warms up at a constant rate; then lr/2·(1 + cos(π(e−1)/T)) for epoch e of T. The
    cosine starts one epoch late and so ends a little above zero, as in the reference.
    """

    epochs: int
    """T, the number of epochs, the warm-up included."""
    warmup_lr: float = WARMUP_LR
    """The learning rate of epoch 0, unless the base rate is smaller."""

    def learning_rate(self, base_lr: float, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch == 0:
            return min(self.warmup_lr, base_lr)
        return base_lr / 2 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs))


class Losses(NamedTuple):
    """The objective and its terms, each () float32."""

    loss: Tensor
    """The objective: cross-entropy + λ · distillation."""
    cross_entropy: Tensor
    distillation: Tensor
    """The regulariser, before it is multiplied by λ."""


def objective(
    logits: Tensor,
    labels: Tensor,
    text: Tensor,
    zero_shot_text: Tensor,
    distill_weight: float,
    *,
    recipe: Recipe = REFERENCE,
    tuned: Sequence[TunedParameter] = (),
) -> Losses:
    """Return the paper's objective: cross-entropy + λ·(1 − mean of cos(text, zero-shot text)).

    The mean is over classes. For ablations another regulariser can replace the distillation: the
    squared L2 distance of the parameters to their initial values, or none.

    Args:
        logits: (batch, classes).
        labels: (batch,) int64.
        text: (classes, dim) unit-length features of the tuned text encoder.
        zero_shot_text: (classes, dim) unit-length features of the untouched text encoder,
            computed without gradient.
        distill_weight: λ.
        recipe: the recipe, whose regulariser takes the place of the distillation.
        tuned: the tuned parameters, which only ``l2_init`` reads.

    Raises:
        ValueError: the regularizer is unknown, or ``l2_init`` gets no parameters.
    """
    cross_entropy = F.cross_entropy(logits, labels)
    match recipe.regularizer:
        case "cosine":
            distillation = 1 - F.cosine_similarity(text, zero_shot_text, dim=-1).mean()
        case "l2_init":
            distillation = distance_to_initial(tuned)
        case "none":
            distillation = torch.zeros_like(cross_entropy)
        case _:
            raise ValueError(
                f"regularizer is {recipe.regularizer!r}; allowed are {get_args(Regularizer)}"
            )
    return Losses(cross_entropy + distill_weight * distillation, cross_entropy, distillation)


def distance_to_initial(tuned: Sequence[TunedParameter]) -> Tensor:
    """Return Σ‖θ − θ₀‖² over all tuned parameters, () float32.

    The sum is neither halved nor averaged. So its gradient at a parameter is 2(θ − θ₀), however
    many others are tuned. With weight λ it acts as a weight decay of 2λ, towards θ₀ instead of 0.

    Raises:
        ValueError: there are no tuned parameters.
    """
    if not tuned:
        raise ValueError("the distance to the initial values needs tuned parameters, got none")
    return torch.stack([(t.parameter - t.initial).square().sum() for t in tuned]).sum()


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
        ValueError: nothing is tuned, or a tuned kind has no learning rate.
    """
    if not tuned:
        raise ValueError("an optimizer needs tuned parameters, got none")
    kinds = {one.kind for one in tuned}
    if missing := kinds - rates.keys():
        raise ValueError(f"{min(missing)} parameters are tuned, but have no learning rate: {rates}")
    groups = [
        {
            "params": [one.parameter for one in tuned if one.kind == kind],
            "lr": rates[kind],
            "base_lr": rates[kind],
            "kind": kind,
        }
        for kind in (*kind_names(), PEER)
        if kind in kinds
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def training_step(
    classifier: Classifier[PromptsT],
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    prompts: PromptsT,
    zero_shot_text: Tensor,
    distill_weight: float,
    *,
    recipe: Recipe = REFERENCE,
    micro_batch: int | None = None,
) -> Losses:
    """Take one optimizer step on a batch and return the losses before the update.

    If a batch does not fit into memory, its images pass in parts. The gradients of the parts add up
    to those of the whole batch, up to rounding.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: the optimizer of the tuned parameters.
        images: (batch, 3, size, size) float32, normalised; or `StagedClassifier.begin_images`.
        labels: (batch,) int64, rows of the prompts.
        prompts: (classes, length) int64, one for each class; or `StagedClassifier.begin_prompts`.
        zero_shot_text: (classes, dim) float32, features of the untouched text encoder.
        distill_weight: λ.
        recipe: see `objective`.
        micro_batch: the number of images that pass the encoder at once; None means all.

    Raises:
        NonFiniteLossError: a loss is infinite or not a number; nothing was updated.
        SubsetError: a tuned parameter got no gradient in the first step; nothing was updated.
    """
    optimizer.zero_grad(set_to_none=True)
    encoded = classifier.encode_text(prompts)
    # All parts add their gradients here, so that they pass through the text encoder once.
    text = encoded.detach().requires_grad_()
    parts: list[Losses] = []
    size = micro_batch or len(labels)
    for part, its_labels in zip(images.split(size), labels.split(size), strict=True):
        logits = classifier.logits(classifier.encode_image(part), text)
        terms = objective(
            logits, its_labels, text, zero_shot_text, distill_weight,
            recipe=recipe, tuned=classifier.tuned,
        )  # fmt: skip
        losses = Losses(*(len(its_labels) / len(labels) * term for term in terms))
        if not math.isfinite(losses.loss.item()):
            raise NonFiniteLossError(f"the loss is {losses.loss.item()}")
        losses.loss.backward()
        parts.append(Losses(*(term.detach() for term in losses)))  # frees the graph's memory
    if encoded.requires_grad:
        encoded.backward(text.grad)
    # There is no state before the first update, and later steps are alike. Zeros are a gradient.
    ungraded = (one.name for one in classifier.tuned if one.parameter.grad is None)
    if not optimizer.state and (missing := list(ungraded)):
        raise SubsetError(
            f"{len(missing)} tuned tensors got no gradient, first {missing[0]}: the model's "
            "features do not depend on them, so that tuning would leave them as they are"
        )
    optimizer.step()
    return Losses(*(torch.stack(terms).sum() for terms in zip(*parts, strict=True)))


def train_epoch(
    classifier: Classifier[PromptsT],
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    schedule: Schedule,
    epoch: int,
    prompts: PromptsT,
    zero_shot_text: Tensor,
    distill_weight: float,
    recipe: Recipe = REFERENCE,
    micro_batch: int | None = None,
) -> Losses:
    """Train for one epoch and return the mean losses over its steps.

    Args:
        classifier: the model; its tuned parameters change in place.
        optimizer: from `make_optimizer`; the schedule sets its learning rates.
        batches: at least one pair of images and labels, see `training_step`.
        schedule: the learning rate of each epoch.
        epoch: the epoch's number, counted from 0.
        prompts: see `training_step`.
        zero_shot_text: see `training_step`.
        distill_weight: λ.
        recipe: see `objective`.
        micro_batch: see `training_step`.

    Raises:
        NonFiniteLossError: a loss is not finite, with epoch and step in the message; or a tuned
            parameter is not finite after the last step.
        SubsetError: see `training_step`.
        ValueError: there are no batches.
    """
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate(group["base_lr"], epoch)
    steps: list[Losses] = []
    for step, (images, labels) in enumerate(batches):
        try:
            losses = training_step(
                classifier, optimizer, images, labels, prompts, zero_shot_text, distill_weight,
                recipe=recipe, micro_batch=micro_batch,
            )  # fmt: skip
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} in epoch {epoch}, step {step}") from None
        steps.append(losses)
    if not steps:
        raise ValueError(f"epoch {epoch} has no batches")
    # The losses are computed before each update, so none of them shows the last step.
    if not torch.stack([t.parameter.isfinite().all() for t in classifier.tuned]).all():
        raise NonFiniteLossError(f"a tuned parameter is not finite after epoch {epoch}")
    return mean_losses(steps)


def mean_losses(steps: Sequence[Losses]) -> Losses:
    """Return the mean of each term over the steps."""
    return Losses(*(torch.stack(terms).mean() for terms in zip(*steps, strict=True)))
