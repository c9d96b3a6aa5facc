"""Training on classes of unequal size: by logits that know the sizes, or by weights."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.method.training_options import WantedBalance, are_unequal


class ClassBalance(NamedTuple):
    """What a training changes for each class, (classes,) float32."""

    offsets: Tensor
    """What is added to the logits, in training alone."""
    weights: Tensor
    """What the losses of images are multiplied by; the mean over all images is 1."""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, () float32.

        Args:
            logits: (batch, classes).
            labels: (batch,) int64.
        """
        losses = F.cross_entropy(logits + self.offsets, labels, reduction="none")
        return (self.weights[labels] * losses).mean()


def class_balance(form: WantedBalance, labels: Tensor, classes: int) -> ClassBalance | None:
    """Return how a training makes up for classes of unequal size.

    Args:
        form: ``logit_adjusted`` adds the logarithm of each class's share of the images (Menon et
            al., ICLR 2021); ``weights`` divides losses by it; ``none`` changes nothing. ``auto`` is
            ``logit_adjusted`` if the classes are unequal, see `are_unequal`, else ``none``.
        labels: (images,) int64, the classes of all training images.
        classes: the number of classes.

    Returns:
        None if nothing is changed.
    """
    sizes = torch.bincount(labels, minlength=classes)
    shares = sizes.clamp(min=1) / len(labels)  # a class may have lost all its images
    if form == "logit_adjusted" or (form == "auto" and are_unequal(sizes.tolist())):
        return ClassBalance(shares.log(), torch.ones_like(shares))
    if form == "weights":
        return ClassBalance(torch.zeros_like(shares), 1 / (classes * shares))
    return None
