"""ProLIP trains the projection of the image encoder alone, by the loss that its paper has."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone, fingerprint
from study.method.model import FewShotClassifier
from study.method.parameters import METHOD
from study.method.projection import ProjectionClassifier
from study.method.recipe import Optimizer
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, Recipe, make_optimizer, training_step

LAMBDA, LR, STEPS = 0.5, 0.003, 6


def test_only_the_projection_runs_in_a_step_and_gives_the_features_of_the_plain_pass(
    backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
):
    classifier = ProjectionClassifier(backbone)
    with torch.no_grad():
        classifier.tuned[0].parameter.add_(0.1)
        staged = StagedClassifier(classifier)
        begun = staged.begin_images(pixel_values)
        assert begun.shape == (6, 1, 32)
        assert staged.vision.first == staged.vision.projection == staged.vision.last - 1
        torch.testing.assert_close(
            staged.encode_image(begun), classifier.encode_image(pixel_values), atol=1e-5, rtol=0
        )
        plain = FewShotClassifier(backbone, parse("none"))
        assert torch.equal(classifier.encode_text(input_ids), plain.encode_text(input_ids))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_is_trained_as_by_a_plain_loop_over_features(
    backbone: Backbone,
    pixel_values: Tensor,
    labels: Tensor,
    input_ids: Tensor,
    optimizer: Optimizer,
):
    staged = StagedClassifier(ProjectionClassifier(backbone))
    recipe = Recipe(optimizer, momentum=0.0, weight_decay=0.0, regularizer="l2_init")
    update = make_optimizer(staged.tuned, {METHOD: LR}, recipe)
    begun, prompts = staged.begin_images(pixel_values), staged.begin_prompts(input_ids)
    text = staged.encode_text(prompts).detach()
    objective = Objective(prompts, text, LAMBDA, recipe)
    for _ in range(STEPS):
        losses = training_step(staged, update, begun, labels, objective)

    clip = copy.deepcopy(backbone.clip)
    states = clip.vision_model(pixel_values=pixel_values).pooler_output.detach()
    initial = clip.visual_projection.weight.detach()
    weight = initial.clone().requires_grad_()
    optimizers = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    update = optimizers[optimizer]([weight], lr=LR, weight_decay=0.0)
    for _ in range(STEPS):
        update.zero_grad()
        features = F.normalize(states @ weight.T, dim=-1)
        cross_entropy = F.cross_entropy(clip.logit_scale.exp() * features @ text.T, labels)
        loss = cross_entropy + LAMBDA * (weight - initial).square().sum()
        loss.backward()
        update.step()
    trained = staged.tuned[0].parameter
    assert not torch.allclose(trained, initial, atol=1e-3)
    torch.testing.assert_close(trained, weight, atol=1e-5, rtol=0)
    torch.testing.assert_close(losses.loss, loss, atol=1e-4, rtol=0)
    assert fingerprint(backbone.clip) == backbone.fingerprint
