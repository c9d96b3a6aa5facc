"""The linear head: a class vector for each trained class, held near the text features.

It is trained after the encoders, on image features that no longer change. The rows W minimise the
mean cross-entropy of s·f·Wᵀ plus μ/C·‖W − P‖². f are the image features, s is CLIP's logit scale, C
is the number of classes, and P are their text features. There is one minimum, which L-BFGS (Liu and
Nocedal 1989) finds in some tens of steps. So there is no learning rate to choose, and no
validation. Source of the penalty: Silva-Rodríguez et al., CVPR 2024, "A Closer Look at the Few-Shot
Adaptation of Large Vision-Language Models", who hold the rows near the text features of CLIP.

The mean of W − P over the classes is 0 at the minimum, since the logits of all classes may be moved
alike. So the rows stay comparable with the text features of classes that are not trained.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from study.method.balance import ClassBalance

PENALTY = 0.3
"""μ, the weight of the squared distance from the text features."""
MOST_STEPS = 1000
"""The most evaluations of the loss; of some hundred heads, none needed 100."""
VIEWS = 4
"""The number of views of each image that a head is trained on if images are augmented."""


class Head(NamedTuple):
    """The trained rows of a linear head."""

    rows: Tensor
    """The class vectors, (classes, dim) float32, of length 1 on average."""
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
def train_head(
    images: Tensor,
    labels: Tensor,
    text: Tensor,
    logit_scale: float,
    balance: ClassBalance | None = None,
) -> Tensor:
    """Return the rows W at the minimum, divided by their mean length.

    One factor for all rows changes no decision among them. By it they have the length of the text
    features, beside which those of other classes may stand.

    Args:
        images: (images, dim), unit-length features in any precision.
        labels: (images,) int64, rows of ``text``; a class may have no image.
        text: P, (classes, dim), unit-length text features.
        logit_scale: s, what cosines are multiplied by.
        balance: what makes up for classes of unequal size; None leaves the cross-entropy as it is.

    Returns:
        (classes, dim) float32, or float64 if the text features are; the text features themselves if
        a feature is not finite.
    """
    precision = torch.promote_types(text.dtype, torch.float32)
    images, prior = images.detach().to(precision), text.detach().to(precision)
    if not (images.isfinite().all() and prior.isfinite().all()):
        return prior  # of a model that has diverged
    cross_entropy = F.cross_entropy if balance is None else balance.cross_entropy
    rows = prior.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [rows],
        max_iter=MOST_STEPS,
        max_eval=MOST_STEPS,
        tolerance_grad=1e-5,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss_with_gradient() -> Tensor:
        optimizer.zero_grad()
        # Times C, so that gradients of a row have one size whatever the number of classes: L-BFGS
        # learns nothing from small ones.
        loss = len(prior) * cross_entropy(logit_scale * images @ rows.T, labels)
        loss = loss + PENALTY * (rows - prior).square().sum()
        loss.backward()
        return loss

    optimizer.step(loss_with_gradient)
    trained = rows.detach()
    length: Tensor = trained.norm(dim=-1).mean()
    return trained / length
