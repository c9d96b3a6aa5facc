"""The linear head: the text features of the trained classes, tuned as the rows of a classifier.

It is trained after the encoders, on image features that no longer change. The rows begin at the
text features and are normalised, and they share CLIP's logit scale; so the head after 0 steps is
the text. Classes that are not trained keep their text features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class HeadTraining(NamedTuple):
    """How a head is trained."""

    lr: float
    """Adam's learning rate."""
    steps: int
    """The number of steps, each on all images."""


GRID = (
    *(HeadTraining(1e-3, steps) for steps in (10, 30, 100)),
    *(HeadTraining(1e-2, steps) for steps in (30, 100)),
)
"""The trainings that validation chooses from."""
DEFAULT = HeadTraining(1e-3, 100)
"""The training of a head where nothing is chosen by validation."""
VIEWS = 4
"""The number of views of each image that a head is trained on if images are augmented."""


@dataclass(frozen=True)
class Head:
    """The trained rows of a linear head."""

    rows: Tensor
    """The class vectors, (classes, dim) float32 of unit length."""
    classes: tuple[int, ...] | tuple[str, ...]
    """The classes of the rows: their ids in a trial, their names in a delta."""

    def replace_in(self, text: Tensor, classes: Sequence[int] | Sequence[str]) -> Tensor:
        """Return text features with the rows of this head's classes in their places.

        Args:
            text: (classes, dim) float32 of unit length; it is not changed.
            classes: the class of each row.
        """
        place = {name: row for row, name in enumerate(self.classes)}
        known = [(at, place[name]) for at, name in enumerate(classes) if name in place]
        if not known:
            return text
        to, source = torch.tensor(known, device=text.device).T
        return text.index_copy(0, to, self.rows.to(text)[source])


@torch.enable_grad()
def train_heads(
    images: Tensor,
    labels: Tensor,
    text: Tensor,
    logit_scale: float,
    trainings: Sequence[HeadTraining],
) -> list[Tensor]:
    """Train a head in each of several ways, by Adam on the cross-entropy of all images.

    Trainings of one learning rate are one training, looked at after different numbers of steps, and
    those of different rates do not affect each other.

    Args:
        images: (images, dim) float32, unit-length features, the same for all trainings.
        labels: (images,) int64, rows of ``text``.
        text: (classes, dim) float32, unit-length text features, where the rows begin.
        logit_scale: what cosines are multiplied by.
        trainings: how to train.

    Returns:
        The rows of each training, (classes, dim) float32 of unit length.
    """
    rates = list(dict.fromkeys(one.lr for one in trainings))
    # Adam's steps do not depend on the scale of gradients. So one that makes steps of size 1 trains
    # all at once, each change being multiplied by its rate.
    change = text.new_zeros(len(rates), *text.shape, requires_grad=True)
    size = torch.tensor(rates, dtype=text.dtype, device=text.device)[:, None, None]
    optimizer = torch.optim.Adam([change], lr=1.0, eps=1e-12, fused=True)
    scaled, repeated = logit_scale * images.detach().T, labels.expand(len(rates), -1)
    heads = {HeadTraining(lr, 0): text for lr in rates}
    for step in range(1, max(one.steps for one in trainings) + 1):
        rows = F.normalize(text + size * change, dim=-1)
        loss = F.cross_entropy(rows @ scaled, repeated) * len(rates)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if any(one.steps == step for one in trainings):
            found = F.normalize(text + size * change.detach(), dim=-1)
            heads |= {HeadTraining(lr, step): found[place] for place, lr in enumerate(rates)}
    return [heads[one] for one in trainings]
