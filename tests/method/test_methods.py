"""Other methods: what each tunes, and that it begins as the backbone and leaves it as it is."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone, fingerprint
from study.method.full_tuning import FullClassifier
from study.method.lora import LORA_TARGETS, apply_dropout
from study.method.model import FewShotClassifier, interpolate
from study.method.parameters import METHOD
from study.method.projection import ProjectionClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, Recipe, make_optimizer, training_step
from study.method.training_options import Optimizer
from tests.not_none import not_none
from tests.trained_methods import features, generator, lora, step

Make = Callable[[Backbone], FewShotClassifier]


@pytest.fixture(
    params=[FullClassifier, lora, ProjectionClassifier], ids=["full", "lora", "projection"]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def test_training_moves_all_that_is_tuned_and_nothing_of_the_backbone(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    names = [name for name, _ in backbone.clip.named_modules()]
    classifier = make(backbone)
    before = {name: p.detach().clone() for name, p in classifier.clip.named_parameters()}
    kept = {p.data_ptr() for p in backbone.clip.parameters()}
    owned = {n for n, p in classifier.clip.named_parameters() if p.data_ptr() not in kept}
    step(classifier, pixel_values, labels, input_ids)
    moved = {n for n, p in classifier.clip.named_parameters() if not torch.equal(p, before[n])}
    assert moved == owned == {tuned.name for tuned in classifier.tuned}
    assert all(not_none(tuned.parameter.grad).any() for tuned in classifier.tuned)
    assert fingerprint(backbone.clip) == backbone.fingerprint
    assert not any(p.requires_grad or p.grad is not None for p in backbone.clip.parameters())
    assert [name for name, _ in backbone.clip.named_modules()] == names


def test_before_training_and_at_alpha_0_a_method_is_the_backbone_to_the_bit(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    zero_shot = features(FewShotClassifier(backbone, parse("none")), pixel_values, input_ids)
    classifier = make(backbone)
    assert all(map(torch.equal, features(classifier, pixel_values, input_ids), zero_shot))
    step(classifier, pixel_values, labels, input_ids)
    images, texts = trained = features(classifier, pixel_values, input_ids)
    with interpolate(classifier.tuned, 0.0):
        untouched = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, untouched, zero_shot))
    assert not torch.allclose(images, zero_shot[0])
    keeps_texts = make is ProjectionClassifier
    assert torch.allclose(texts, zero_shot[1]) == keeps_texts
    again = features(classifier, pixel_values, input_ids)
    assert all(map(torch.equal, again, trained)), "trained again after the block"


def test_full_fine_tuning_tunes_every_tensor_but_the_logit_scale(backbone: Backbone):
    names = [tuned.name for tuned in FullClassifier(backbone).tuned]
    known = [name for name, _ in backbone.clip.named_parameters()]
    assert sorted([*names, "logit_scale"]) == sorted(known)
    assert names == sorted(names)


def test_lora_has_a_pair_on_the_queries_and_values_of_each_block_of_both_encoders(
    backbone: Backbone,
):
    adapted = {name for name, _ in backbone.clip.named_modules() if name.endswith(LORA_TARGETS)}
    assert len(adapted) == 2 * (2 + 3)
    shapes = {tuned.name: tuned.parameter.shape for tuned in lora(backbone).tuned}
    assert shapes == {
        **{f"{name}.lora_A.default.weight": (2, 32) for name in adapted},
        **{f"{name}.lora_B.default.weight": (32, 2) for name in adapted},
    }


def test_alpha_scales_the_product_of_the_adapters(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    classifier = lora(backbone)
    step(classifier, pixel_values, labels, input_ids, times=3)
    layer = classifier.clip.vision_model.encoder.layers[1].self_attn.v_proj
    whole = layer.get_delta_weight("default")
    assert whole.abs().max() > 0.01
    with interpolate(classifier.tuned, 0.75):
        torch.testing.assert_close(layer.get_delta_weight("default"), 0.75 * whole)
    assert torch.equal(layer.get_delta_weight("default"), whole)


def test_the_change_of_a_projection_is_that_of_the_paper(backbone: Backbone):
    classifier = lora(backbone)
    layer = classifier.clip.text_model.encoder.layers[0].self_attn.q_proj
    a, b = (factor["default"].weight for factor in (layer.lora_A, layer.lora_B))
    with torch.no_grad():
        b.copy_(torch.randn(b.shape, generator=generator()))
    x = torch.randn(5, 32, generator=generator(2))
    weight = backbone.clip.text_model.encoder.layers[0].self_attn.q_proj
    expected = weight(x) + 6 / 2 * x @ (b @ a).T
    torch.testing.assert_close(layer(x), expected)


def test_the_adapters_begin_by_their_generator_alone(backbone: Backbone):
    state = torch.get_rng_state()
    one, same = lora(backbone), lora(backbone)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    for first, again in zip(one.tuned, same.tuned, strict=True):
        assert torch.equal(first.parameter, again.parameter)
        assert torch.equal(first.initial, first.parameter), "it is where the tuning begins"


def test_dropout_acts_within_its_block_alone_and_by_its_seed(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    classifier = lora(backbone, dropout=0.5)
    step(classifier, pixel_values, labels, input_ids, times=3)
    still = features(classifier, pixel_values, input_ids)[0]
    state = torch.get_rng_state()
    dropped = []
    for seed in (1, 1, 2):
        with apply_dropout(classifier, seed):
            dropped.append(features(classifier, pixel_values, input_ids)[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(dropped[0], dropped[1])
    assert not torch.allclose(dropped[0], dropped[2])
    assert not torch.allclose(dropped[0], still)
    assert torch.equal(features(classifier, pixel_values, input_ids)[0], still)


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
