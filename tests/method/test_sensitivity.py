"""What a tensor could gain is its rate times the squared norm of the gradient of the loss."""

import pytest
import torch
from torch.nn import functional as F

from study.backbones.backbone import Backbone
from study.method.parameters import find_leaf
from study.method.sensitivity import tensor_sensitivities
from study.method.training import NonFiniteLossError, Objective
from tests.staged_case import Case

RATES = {"bias": 0.5, "ln": 2.0}
STEP = 1e-5


@pytest.mark.parametrize("size", [4, 3])
def test_it_is_what_finite_differences_of_the_mean_loss_say(backbone: Backbone, size: int):
    subset = "text.ln_final.bias + vision.mlp.fc2.bias[1] + vision.ln_post.weight"
    case = Case(backbone, subset, 1, torch.float64)
    objective = Objective(case.ids, case.plain()[0].detach(), distill_weight=3.0)
    batches = zip(case.pixels.split(size), case.labels.split(size), strict=True)
    measured = tensor_sensitivities(case.classifier, batches, objective, RATES)

    @torch.no_grad()
    def loss() -> float:
        text, images = case.plain()
        return F.cross_entropy(case.classifier.logits(images, text), case.labels).item()

    for tuned in case.classifier.tuned:
        assert tuned.parameter.grad is None
        square = 0.0
        for number in tuned.parameter.data:
            number += STEP
            above = loss()
            number -= 2 * STEP
            square += ((above - loss()) / (2 * STEP)) ** 2
            number += STEP
        name = str(find_leaf(tuned.name))
        assert measured.pop(name) == pytest.approx(RATES[tuned.kind] * square, rel=1e-6)
    assert measured == {}
    case.pixels[0] = torch.inf
    with pytest.raises(NonFiniteLossError, match="has the norm nan"):
        tensor_sensitivities(case.classifier, [(case.pixels, case.labels)], objective, RATES)
