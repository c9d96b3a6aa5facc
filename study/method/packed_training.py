"""CLIPFit's step and epoch for several runs at once: `study.method.training`, packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from study.method.packed import PackedClassifiers, Prompts
from study.method.training import (
    Losses,
    NonFiniteLossError,
    Regularizer,
    Schedule,
    mean_losses,
    objective,
    refuse_non_finite,
    refuse_non_finite_loss,
    set_learning_rates,
)

Batch = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Images and labels of each run: from `PackedClassifiers.begin_images`, and (batch,) int64."""


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
    """Take one step of every run; give the losses of each before its update.

    Where batches do not fit into memory, images pass in parts, whose gradients add up to those of
    the whole, up to rounding.

    Args:
        packed: the runs' classifiers; their tuned parameters change in place.
        optimizers: one a run, over its tuned parameters.
        batch: each run's own.
        prompts: from `PackedClassifiers.begin_prompts`.
        zero_shot_text: each run's, (classes, dim) float32.
        distill_weight: λ.
        regularizer: see `study.method.training.objective`.
        micro_batch: images of each run that pass the encoder at once; None: all.

    Raises:
        NonFiniteLossError: a loss is infinite or not a number; nothing was updated.
    """
    images, labels = batch
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    texts = packed.encode_text(prompts)
    # The gradients of all parts gather here and pass through the text encoder once.
    gathering = [text.detach().requires_grad_() for text in texts]
    parts: list[list[Losses]] = [[] for _ in labels]
    most = max(map(len, labels))
    size = micro_batch or most
    for at in range(0, most, size):
        # A run whose batch is smaller than the others' has no images in the last parts.
        runs = [run for run, own in enumerate(labels) if at < len(own)]
        features = packed.encode_image([own[at : at + size] for own in images])
        losses = [
            objective(
                packed.classifiers[run].logits(features[run], gathering[run]),
                labels[run][at : at + size],
                gathering[run],
                zero_shot_text[run],
                distill_weight,
                regularizer=regularizer,
                tuned=packed.classifiers[run].tuned,
            ).times(len(labels[run][at : at + size]) / len(labels[run]))
            for run in runs
        ]
        # No run's loss depends on another's parameters, so the sum has each run's own gradient.
        total = torch.stack([one.loss for one in losses]).sum()
        refuse_non_finite_loss(total)
        total.backward()
        for run, one in zip(runs, losses, strict=True):
            parts[run].append(one.detach())
    if texts[0].requires_grad:
        torch.autograd.backward(texts, [one.grad for one in gathering])
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
    """Train one epoch of every run; give each one's mean losses over its steps.

    Args:
        packed: as of `packed_step`, like all that is not told here.
        optimizers: from `study.method.training.make_optimizer`.
        batches: at least one; every run has as many.
        schedule: learning rate per epoch.
        epoch: counted from 0.
        prompts: as of `packed_step`.
        zero_shot_text: as of `packed_step`.
        distill_weight: λ.
        regularizer: see `study.method.training.objective`.
        micro_batch: as of `packed_step`.

    Raises:
        NonFiniteLossError: naming epoch and step; or a parameter is not finite after the last.
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
