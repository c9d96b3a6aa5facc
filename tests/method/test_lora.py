"""LoRA has adapters where it says, which begin at nothing and drop out by their seed."""

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.lora import LORA_TARGETS, apply_dropout
from study.method.model import apply_strength
from tests.trained_methods import features, generator, lora, step


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


def test_the_strength_scales_the_product_of_the_adapters(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
):
    classifier = lora(backbone)
    step(classifier, pixel_values, labels, input_ids, times=3)
    layer = classifier.clip.vision_model.encoder.layers[1].self_attn.v_proj
    whole = layer.get_delta_weight("default")
    assert whole.abs().max() > 0.01
    with apply_strength(classifier.tuned, 0.75):
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
