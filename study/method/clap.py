"""CLAP, a linear classifier on frozen image features, for comparison.

Silva-Rodríguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models",
CVPR 2024, arXiv 2312.12730, with the settings of their repository jusiro/CLAP. The rows W begin at
the text embeddings T of the classes. The loss is the cross-entropy + the mean over classes c of
α_c·‖w_c − t_c‖². α_c is the probability that zero-shot CLIP gives to class c, averaged over all
views of the images of c: where the text fits a class, its row is held more firmly.

Rows and embeddings are not of unit length, and are normalised where a logit is computed. An epoch
has as many full batches as one view of the images would fill, drawn from all views.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from study.method.training import NonFiniteLossError, Schedule
from study.method.training_options import CLAP_LR, MOMENTUM

CLAP_VIEWS = 20
"""The number of views of each image if images are augmented."""
EPOCHS = 300
BATCH_SIZE = 256


@torch.enable_grad()
def train_clap(
    features: Tensor,
    labels: Tensor,
    text: Tensor,
    logit_scale: float,
    *,
    images: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the trained rows of the classifier, (classes, dim) float32 of unit length.

    Args:
        features: (views · images, dim), unit-length features of all views, in any precision.
        labels: (views · images,) int64, rows of ``text``; a class may have no image.
        text: T, (classes, dim), the text embeddings at their own lengths.
        logit_scale: what cosines are multiplied by.
        images: the number of images, which decides the steps of an epoch.
        generator: draws the batches.

    Raises:
        NonFiniteLossError: the rows became infinite or not a number.
    """
    features, text = features.detach().float(), text.detach().float()
    zero_shot = (logit_scale * features @ F.normalize(text, dim=-1).T).softmax(dim=-1)
    of_label = zero_shot.gather(1, labels[:, None]).squeeze(1)
    sums = text.new_zeros(len(text)).index_add(0, labels, of_label)
    confidence = sums / torch.bincount(labels, minlength=len(text)).clamp(min=1)
    rows = text.clone().requires_grad_()
    optimizer = torch.optim.SGD([rows], lr=CLAP_LR, momentum=MOMENTUM)
    batches = max(1, images // BATCH_SIZE)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = Schedule(EPOCHS).learning_rate(CLAP_LR, epoch)
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for batch in order.split(BATCH_SIZE)[:batches]:
            logits = logit_scale * features[batch] @ F.normalize(rows, dim=-1).T
            distances = (rows - text).square().sum(dim=-1)
            loss = F.cross_entropy(logits, labels[batch]) + (confidence * distances).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if not rows.isfinite().all():
        raise NonFiniteLossError(f"CLAP: a weight is not finite after {EPOCHS} epochs")
    return F.normalize(rows.detach(), dim=-1)
