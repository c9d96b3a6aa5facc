"""LoRA has adapters where it says, which begin at nothing and drop out by their seed."""

import sys
from collections import Counter

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.errors import ConfigError
from study.method.lora import apply_dropout
from study.method.model import apply_strength
from tests.trained_peers import features, generator, lora, step


def test_lora_has_a_pair_on_the_queries_and_values_of_each_block_of_both_encoders(
    backbone: Backbone,
) -> None:
    names = {tuned.name: tuned for tuned in lora(backbone).tuned}
    blocks = [name.partition(".self_attn.")[0] for name in names]
    assert set(Counter(blocks).values()) == {4}
    assert len(set(blocks)) == 2 + 3
    assert {name.split(".")[-4] for name in names} == {"q_proj", "v_proj"}
    assert {t.parameter.shape for n, t in names.items() if "lora_A" in n} == {(2, 32)}
    assert {t.parameter.shape for n, t in names.items() if "lora_B" in n} == {(32, 2)}


def test_the_strength_scales_the_product_of_the_adapters(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    classifier = lora(backbone)
    step(classifier, pixel_values, labels, input_ids, times=3)

    def change() -> Tensor:
        layer = classifier.clip.vision_model.encoder.layers[1].self_attn.v_proj
        return layer.get_delta_weight("default").detach()

    whole = change()
    assert whole.abs().max() > 0.01
    with apply_strength(classifier.tuned, 0.75):
        assert torch.allclose(change(), 0.75 * whole, atol=1e-7)
    assert torch.equal(change(), whole)


def test_the_change_of_a_projection_is_that_of_the_paper(backbone: Backbone) -> None:
    classifier = lora(backbone)
    layer = classifier.clip.text_model.encoder.layers[0].self_attn.q_proj
    a, b = (factor["default"].weight for factor in (layer.lora_A, layer.lora_B))
    with torch.no_grad():
        b.copy_(torch.randn(b.shape, generator=generator()))
    x = torch.randn(5, 32, generator=generator(2))
    weight = backbone.clip.text_model.encoder.layers[0].self_attn.q_proj
    expected = weight(x) + 6 / 2 * x @ (b @ a).T
    torch.testing.assert_close(layer(x), expected)


def test_all_that_lora_does_not_tune_is_shared_with_the_backbone(backbone: Backbone) -> None:
    kept = {id(parameter) for parameter in backbone.clip.parameters()}
    owned = [p for p in lora(backbone).clip.parameters() if id(p) not in kept]
    assert len(owned) == len(lora(backbone).tuned)


def test_the_adapters_begin_by_their_generator_alone(backbone: Backbone) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = lora(backbone), lora(backbone), lora(backbone, seed=2)
    assert torch.equal(torch.rand(3), expected), "the global generator is left alone"
    for first, again, different in zip(one.tuned, same.tuned, other.tuned, strict=True):
        assert torch.equal(first.parameter, again.parameter)
        assert torch.equal(first.initial, first.parameter), "it is where the tuning begins"
        assert torch.equal(first.parameter, different.parameter) == (".lora_B." in first.name)


def test_dropout_acts_within_its_block_alone_and_by_its_seed(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
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


def test_without_peft_the_message_names_the_extra(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"clipfit-study\[lora\]"):
        lora(backbone)
