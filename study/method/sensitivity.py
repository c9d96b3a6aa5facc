"""What each tensor could gain by training, told by one backward pass before anything is trained.

A step of gradient descent at the rate η moves a tensor θ by −η·∂L/∂θ, and so lowers the loss L by
η·‖∂L/∂θ‖² to first order. This is the sensitivity of SPT (He et al. 2023, arXiv 2303.08566) for a
whole tensor. GPS (Zhang et al. 2024, arXiv 2312.10136) chooses by gradients, too. What a site, a
layer or any other set of tensors could gain is the sum over its tensors.

λ has no effect: no regularizer has a gradient before the first step.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from study.method.model import Classifier
from study.method.parameters import find_leaf
from study.method.training import Objective, training_step


def tensor_sensitivities(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    objective: Objective,
    rates: Mapping[str, float],
    *,
    micro_batch: int | None = None,
) -> dict[str, float]:
    """Return η·‖∂L/∂θ‖² of each tuned tensor θ, by its name in the subset language.

    L is the mean loss of all images. The parameters and their gradients are as before.

    Args:
        classifier: the model; what it tunes is what is measured.
        images: all images, see `study.method.training.training_step`.
        labels: (images,) int64, rows of the prompts.
        objective: the prompts, and the loss.
        rates: η, the learning rate of each kind of parameter.
        micro_batch: the number of images that pass the encoder at once; None means all.

    Raises:
        NonFiniteLossError: the loss is infinite or not a number.
        SubsetError: the features do not depend on a tuned tensor.
    """
    # A step at the rate 0 changes no parameter, and leaves its gradient behind.
    optimizer = torch.optim.SGD([tuned.parameter for tuned in classifier.tuned], lr=0.0)
    training_step(classifier, optimizer, images, labels, objective, micro_batch=micro_batch)
    sensitivities = {}
    for tuned in classifier.tuned:
        gradient = tuned.parameter.grad
        if gradient is not None:
            square = gradient.square().sum().item()
            sensitivities[str(find_leaf(tuned.name))] = rates[tuned.kind] * square
    optimizer.zero_grad()
    return sensitivities
