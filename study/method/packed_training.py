"""CLIPFit's step and epoch of `study.method.training`, for several runs at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from study.method.packed import PackedClassifiers, Prompts
from study.method.recipe import Regularizer
from study.method.training import (
    Losses,
    NonFiniteLossError,
    Schedule,
    mean_losses,
    objective,
    refuse_non_finite,
    refuse_non_finite_loss,
    set_learning_rates,
)

Batch = tuple[Sequence[Tensor], Sequence[Tensor]]
"""The images of each run, from `PackedClassifiers.begin_images`, and its labels (batch,) int64."""


def packed_step(
    packed: PackedClassifiers,
    optimizers: Sequence[torch.optim.Optimizer],
    batch: Batch,
    prompts: Prompts,
    zero_shot_text: Sequence[Tensor],
    distill_weight: float,
    *,
    regularizer: Regularizer = "cosine",
    micro_batch: int | None = None,
) -> list[Losses]:
    """Take one optimizer step of every run and return each run's losses before its update.

    If batches do not fit into memory, images pass in parts. The gradients of the parts add up to
    those of the whole batch, up to rounding.

    Args:
        packed: the runs' classifiers; their tuned parameters change in place.
        optimizers: one for each run, over its tuned parameters.
        batch: the images and labels of each run.
        prompts: from `PackedClassifiers.begin_prompts`.
        zero_shot_text: the features of each run's untouched text encoder, (classes, dim) float32.
        distill_weight: λ.
        regularizer: see `study.method.training.objective`.
        micro_batch: the images of each run that pass the encoder at once; None means all.

    Raises:
        NonFiniteLossError: a loss is infinite or not a number; nothing was updated.
    """
    images, labels = batch
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    texts = packed.encode_text(prompts)
    # The gradients of all parts add up here, so that they pass through the text encoder once.
    detached = [text.detach().requires_grad_() for text in texts]
    parts: list[list[Losses]] = [[] for _ in labels]
    longest = max(map(len, labels))
    size = micro_batch or longest
    for at in range(0, longest, size):
        # A run with a smaller batch than the others has no images in the last parts.
        runs = [run for run, own in enumerate(labels) if at < len(own)]
        features = packed.encode_image([own[at : at + size] for own in images])
        losses = [
            objective(
                packed.classifiers[run].logits(features[run], detached[run]),
                labels[run][at : at + size],
                detached[run],
                zero_shot_text[run],
                distill_weight,
                regularizer=regularizer,
                tuned=packed.classifiers[run].tuned,
            ).times(len(labels[run][at : at + size]) / len(labels[run]))
            for run in runs
        ]
        # No loss depends on another run's parameters, so the sum's gradients are each run's own.
        total = torch.stack([one.loss for one in losses]).sum()
        refuse_non_finite_loss(total)
        total.backward()
        for run, one in zip(runs, losses, strict=True):
            parts[run].append(one.detach())
    if texts[0].requires_grad:
        torch.autograd.backward(texts, [one.grad for one in detached])
    for optimizer in optimizers:
        optimizer.step()
    return [_sum_losses(of_run) for of_run in parts]


def train_packed_epoch(
    packed: PackedClassifiers,
    optimizers: Sequence[torch.optim.Optimizer],
    batches: Iterable[Batch],
    *,
    schedule: Schedule,
    epoch: int,
    prompts: Prompts,
    zero_shot_text: Sequence[Tensor],
    distill_weight: float,
    regularizer: Regularizer = "cosine",
    micro_batch: int | None = None,
) -> list[Losses]:
    """Train every run for one epoch and return each run's mean losses over its steps.

    Args:
        packed: the runs' classifiers; their tuned parameters change in place.
        optimizers: from `study.method.training.make_optimizer`; the schedule sets their rates.
        batches: at least one; each holds images and labels of every run.
        schedule: the learning rate of each epoch.
        epoch: the epoch's number, counted from 0.
        prompts: see `packed_step`.
        zero_shot_text: see `packed_step`.
        distill_weight: λ.
        regularizer: see `study.method.training.objective`.
        micro_batch: see `packed_step`.

    Raises:
        NonFiniteLossError: a loss is not finite, with epoch and step in the message; or a tuned
            parameter is not finite after the last step.
        ValueError: there are no batches.
    """
    for optimizer in optimizers:
        set_learning_rates(optimizer, schedule, epoch)
    steps: list[list[Losses]] = []
    for step, batch in enumerate(batches):
        try:
            losses = packed_step(
                packed, optimizers, batch, prompts, zero_shot_text, distill_weight,
                regularizer=regularizer, micro_batch=micro_batch,
            )  # fmt: skip
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} in epoch {epoch}, step {step}") from None
        steps.append(losses)
    if not steps:
        raise ValueError(f"epoch {epoch} has no batches")
    for classifier in packed.classifiers:
        refuse_non_finite(classifier.tuned, epoch)
    return [mean_losses(of_run) for of_run in zip(*steps, strict=True)]


def _sum_losses(parts: Sequence[Losses]) -> Losses:
    """Add losses term by term."""
    return Losses(*(torch.stack(terms).sum() for terms in zip(*parts, strict=True)))
