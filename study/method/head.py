"""The linear head: the text features of the trained classes, tuned as the rows of a classifier.

It is trained after the encoders, on image features that no longer change. The rows start as the
text features, are normalised, and share CLIP's logit scale. So after 0 steps the head predicts what
the text features predict. Classes that are not trained keep their text features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.method.balance import ClassBalance


class HeadTraining(NamedTuple):
    """How a head is trained."""

    lr: float
    """Adam's learning rate."""
    steps: int
    """The number of steps, each on all images."""


GRID = (
    HeadTraining(1e-3, 10),
    HeadTraining(1e-3, 30),
    HeadTraining(1e-3, 100),
    HeadTraining(1e-2, 30),
    HeadTraining(1e-2, 100),
)
"""The trainings that validation chooses from."""
DEFAULT = HeadTraining(1e-3, 100)
"""The training of a head where nothing is chosen by validation."""
VIEWS = 4
"""The number of views of each image that a head is trained on if images are augmented."""


class Head(NamedTuple):
    """The trained rows of a linear head."""

    rows: Tensor
    """The class vectors, (classes, dim) float32 of unit length."""
    classes: tuple[int, ...]
    """The ids of the rows' classes."""

    def replace_in(self, text: Tensor, classes: Sequence[int]) -> Tensor:
        """Return text features in which this head's rows replace those of its classes.

        Args:
            text: (classes, dim) float32 of unit length; it is not changed.
            classes: the id of each row's class, or -1 if it is none of the trial's classes.
        """
        row_of_class = {class_id: row for row, class_id in enumerate(self.classes)}
        pairs = [
            (index, row_of_class[class_id])
            for index, class_id in enumerate(classes)
            if class_id in row_of_class
        ]
        if not pairs:
            return text
        replaced, sources = torch.tensor(pairs, device=text.device).unbind(1)
        return text.index_copy(0, replaced, self.rows.to(text)[sources])


@torch.enable_grad()
def train_heads(
    images: Tensor,
    labels: Tensor,
    text: Tensor,
    logit_scale: float,
    trainings: Sequence[HeadTraining],
    balance: ClassBalance | None = None,
) -> list[Tensor]:
    """Train a head in each of several ways, by Adam on the cross-entropy of all images.

    Trainings with the same learning rate are one training that is read after different numbers of
    steps. Trainings with different rates run together and do not affect each other.

    Args:
        images: (images, dim) float32, unit-length features, the same for all trainings.
        labels: (images,) int64, rows of ``text``.
        text: (classes, dim) float32, unit-length text features, the initial rows.
        logit_scale: what cosines are multiplied by.
        trainings: how to train.
        balance: what makes up for classes of unequal size; None leaves the cross-entropy as it is.

    Returns:
        The rows of each training, (classes, dim) float32 of unit length.
    """
    rates = list(dict.fromkeys(training.lr for training in trainings))
    steps_to_read = {training.steps for training in trainings}
    # Adam's steps do not depend on the scale of gradients. So one that makes steps of size 1 trains
    # all at once, each change being multiplied by its rate.
    change = text.new_zeros(len(rates), *text.shape, requires_grad=True)
    step_sizes = torch.tensor(rates, dtype=text.dtype, device=text.device)[:, None, None]
    optimizer = torch.optim.Adam([change], lr=1.0, eps=1e-12, fused=True)
    scaled_images = logit_scale * images.detach().T
    repeated_labels = labels.expand(len(rates), -1)
    cross_entropy = F.cross_entropy if balance is None else balance.cross_entropy
    heads = {HeadTraining(lr, 0): text for lr in rates}
    for step in range(1, max(steps_to_read) + 1):
        rows = F.normalize(text + step_sizes * change, dim=-1)
        loss = cross_entropy(rows @ scaled_images, repeated_labels) * len(rates)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step in steps_to_read:
            rows = F.normalize(text + step_sizes * change.detach(), dim=-1)
            for index, lr in enumerate(rates):
                heads[HeadTraining(lr, step)] = rows[index]
    return [heads[training] for training in trainings]
