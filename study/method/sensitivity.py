"""What each tensor could gain by training, told by one backward pass before anything is trained.

A step of gradient descent at the rate η moves a tensor θ by −η·∂L/∂θ, and so lowers the loss L by
η·‖∂L/∂θ‖² to first order. This is the sensitivity of SPT (He et al. 2023, arXiv 2303.08566) for a
whole tensor. GPS (Zhang et al. 2024, arXiv 2312.10136) chooses by gradients, too. What a site, a
layer or any other set of tensors could gain is the sum over its tensors.

λ has no effect: no regularizer has a gradient before the first step.
"""

import math
from collections.abc import Iterable, Mapping

from study.method.model import Classifier
from study.method.parameters import find_leaf
from study.method.training import Batch, NonFiniteLossError, Objective


def tensor_sensitivities(
    classifier: Classifier,
    batches: Iterable[Batch],
    objective: Objective,
    rates: Mapping[str, float],
) -> dict[str, float]:
    """Return η·‖∂L/∂θ‖² of each tuned tensor θ, by its name in the subset language.

    L is the mean loss over the images of all batches. Parameters stay as they are.

    Args:
        classifier: the model; what it tunes is what is measured.
        batches: pairs of images and labels, see `study.method.training.training_step`. They pass
            one after the other, and the prompts once.
        objective: the prompts, and the loss.
        rates: η, the learning rate of each kind of parameter.

    Raises:
        NonFiniteLossError: a gradient is infinite or not a number.
    """
    encoded = classifier.encode_text(objective.prompts)
    text = encoded.detach().requires_grad_()
    count = 0
    for images, labels in batches:
        logits = classifier.logits(classifier.encode_image(images), text)
        losses = objective.losses(logits, labels, text, classifier.tuned)
        (len(labels) * losses.loss).backward()
        count += len(labels)
    if encoded.requires_grad:
        encoded.backward(text.grad)
    sensitivities = {}
    for tuned in classifier.tuned:
        norm = 0.0
        if tuned.parameter.grad is not None:
            norm = tuned.parameter.grad.norm().item() / count
        if not math.isfinite(norm):
            raise NonFiniteLossError(f"the gradient of {tuned.name} has the norm {norm}")
        sensitivities[str(find_leaf(tuned.name))] = rates[tuned.kind] * norm**2
        tuned.parameter.grad = None
    return sensitivities
