"""Other methods: what each tunes, and that it begins as the backbone and leaves it as it is."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone, fingerprint
from study.method.full_tuning import FullClassifier
from study.method.lora import LoraClassifier, apply_dropout
from study.method.model import FewShotClassifier, interpolate
from study.method.parameters import METHOD
from study.method.plain_pass import PlainPass
from study.method.projection import ProjectionClassifier
from study.method.staged import StagedClassifier
from study.method.training import Objective, Recipe, make_optimizer, training_step
from study.method.training_options import Optimizer

Make = Callable[[Backbone], FewShotClassifier]


def lora(backbone: Backbone, dropout: float = 0.0) -> LoraClassifier:
    generator = torch.Generator().manual_seed(1)
    return LoraClassifier(backbone, rank=2, alpha=6, dropout=dropout, generator=generator)


def train(classifier: FewShotClassifier, images: Tensor, labels: Tensor, ids: Tensor):
    optimizer = make_optimizer(classifier.tuned, {METHOD: 0.02}, Recipe("adamw"))
    objective = Objective(ids, classifier.encode_text(ids).detach(), 0.0)
    for _ in range(3):
        training_step(PlainPass(classifier), optimizer, images, labels, objective)


@torch.no_grad()
def features(classifier: FewShotClassifier, images: Tensor, ids: Tensor) -> list[Tensor]:
    return [classifier.encode_image(images), classifier.encode_text(ids)]


@pytest.mark.parametrize(
    "make", [FullClassifier, lora, ProjectionClassifier], ids=["full", "lora", "projection"]
)
def test_a_method_begins_as_the_backbone_and_leaves_it_unchanged(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    zero_shot = features(FewShotClassifier(backbone), pixel_values, input_ids)
    names = [name for name, _ in backbone.clip.named_modules()]
    classifier = make(backbone)
    assert all(map(torch.equal, features(classifier, pixel_values, input_ids), zero_shot))
    before = {name: p.detach().clone() for name, p in classifier.clip.named_parameters()}
    train(classifier, pixel_values, labels, input_ids)
    moved = {n for n, p in classifier.clip.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {tuned.name for tuned in classifier.tuned}
    assert fingerprint(backbone.clip) == backbone.fingerprint
    assert not any(p.requires_grad or p.grad is not None for p in backbone.clip.parameters())
    assert [name for name, _ in backbone.clip.named_modules()] == names
    images, texts = trained = features(classifier, pixel_values, input_ids)
    assert not torch.allclose(images, zero_shot[0])
    assert torch.allclose(texts, zero_shot[1]) == (make is ProjectionClassifier)
    with interpolate(classifier.tuned, 0.0):
        untouched = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, untouched, zero_shot))
    again = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, again, trained)), "trained again after the block"


def test_an_adapter_adds_the_change_of_the_paper_scaled_by_alpha(backbone: Backbone):
    classifier = lora(backbone)
    layer = classifier.clip.text_model.encoder.layers[0].self_attn.q_proj
    a, b = (factor["default"].weight for factor in (layer.lora_A, layer.lora_B))
    with torch.no_grad():
        b.copy_(torch.randn(b.shape, generator=torch.Generator().manual_seed(1)))
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(2))
    weight = backbone.clip.text_model.encoder.layers[0].self_attn.q_proj
    change = 6 / 2 * x @ (b @ a).T
    torch.testing.assert_close(layer(x), weight(x) + change)
    with interpolate(classifier.tuned, 0.75):
        torch.testing.assert_close(layer(x), weight(x) + 0.75 * change)


def test_adapters_depend_on_their_generator_and_seed_alone(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    state = torch.get_rng_state()
    classifier, same = lora(backbone, dropout=0.5), lora(backbone)
    for first, again in zip(classifier.tuned, same.tuned, strict=True):
        assert torch.equal(first.parameter, again.parameter)
        assert torch.equal(first.initial, first.parameter), "it is where the tuning begins"
    train(classifier, pixel_values, labels, input_ids)
    still = features(classifier, pixel_values, input_ids)[0]
    dropped = []
    for seed in (1, 1, 2):
        with apply_dropout(classifier, seed):
            dropped.append(features(classifier, pixel_values, input_ids)[0])
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert torch.equal(dropped[0], dropped[1])
    assert not torch.allclose(dropped[0], dropped[2])
    assert not torch.allclose(dropped[0], still)
    assert torch.equal(features(classifier, pixel_values, input_ids)[0], still)


LAMBDA, LR, STEPS = 0.5, 0.003, 6


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_projection_is_trained_as_by_a_plain_loop_over_features(
    backbone: Backbone,
    pixel_values: Tensor,
    labels: Tensor,
    input_ids: Tensor,
    optimizer: Optimizer,
):
    staged = StagedClassifier(ProjectionClassifier(backbone))
    assert staged.vision.first == staged.vision.projection, "nothing else runs in a step"
    recipe = Recipe(optimizer, momentum=0.0, weight_decay=0.0, regularizer="l2_init")
    update = make_optimizer(staged.tuned, {METHOD: LR}, recipe)
    begun, prompts = staged.begin_images(pixel_values), staged.begin_prompts(input_ids)
    assert begun.shape == (6, 1, 32)
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
