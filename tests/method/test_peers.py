"""Full fine-tuning and LoRA reach what they say they reach, and begin as the backbone."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone, fingerprint
from study.backbones.description import read_architecture
from study.errors import ConfigError
from study.method.model import FewShotClassifier, at_strength
from study.method.parameters import PEER
from study.method.peers import FullClassifier, LoraClassifier, PlainPass, dropping_out
from study.method.subsets import parse
from study.method.training import make_optimizer, training_step

Make = Callable[[Backbone], FewShotClassifier]


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lora(backbone: Backbone, seed: int = 1, dropout: float = 0.0) -> LoraClassifier:
    return LoraClassifier(backbone, rank=2, alpha=6, dropout=dropout, generator=generator(seed))


@pytest.fixture(params=[FullClassifier, lora], ids=["full", "lora"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def step(
    classifier: FewShotClassifier, images: Tensor, labels: Tensor, ids: Tensor, times: int = 2
) -> None:
    optimizer = make_optimizer(classifier.tuned, {PEER: 0.02}, optimizer="adamw")
    plain = PlainPass(classifier)
    zero_shot = classifier.encode_text(ids).detach()
    for _ in range(times):
        training_step(plain, optimizer, images, labels, ids, zero_shot, 0.0)


def features(classifier: FewShotClassifier, images: Tensor, ids: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [classifier.encode_image(images), classifier.encode_text(ids)]


def test_full_fine_tuning_tunes_every_tensor_but_the_logit_scale(backbone: Backbone) -> None:
    names = [tuned.name for tuned in FullClassifier(backbone).tuned]
    known = [name for name, _ in backbone.clip.named_parameters()]
    assert sorted([*names, "logit_scale"]) == sorted(known)
    assert names == sorted(names)


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


def test_the_gradient_reaches_all_that_is_tuned_and_nothing_else(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    classifier = make(backbone)
    before = {name: p.detach().clone() for name, p in classifier.clip.named_parameters()}
    step(classifier, pixel_values, labels, input_ids)
    moved = {n for n, p in classifier.clip.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {tuned.name for tuned in classifier.tuned}
    assert all(tuned.parameter.grad.any() for tuned in classifier.tuned)


def test_it_begins_as_the_backbone_to_the_bit(
    make: Make, backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
) -> None:
    zero_shot = FewShotClassifier(backbone, parse("none"))
    expected = features(zero_shot, pixel_values, input_ids)
    for one, other in zip(features(make(backbone), pixel_values, input_ids), expected, strict=True):
        assert torch.equal(one, other)


def test_at_strength_0_it_is_the_backbone_to_the_bit_whatever_it_learned(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    zero_shot = features(FewShotClassifier(backbone, parse("none")), pixel_values, input_ids)
    classifier = make(backbone)
    step(classifier, pixel_values, labels, input_ids)
    trained = features(classifier, pixel_values, input_ids)
    with at_strength(classifier.tuned, 0.0):
        untouched = features(classifier, pixel_values, input_ids)
    for one, learned, other in zip(untouched, trained, zero_shot, strict=True):
        assert torch.equal(one, other)
        assert not torch.allclose(learned, other)
    for one, other in zip(features(classifier, pixel_values, input_ids), trained, strict=True):
        assert torch.equal(one, other), "trained again after the block"


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
    with at_strength(classifier.tuned, 0.75):
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


def test_the_backbone_stays_as_it_was(
    make: Make, backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    names = [name for name, _ in backbone.clip.named_modules()]
    step(make(backbone), pixel_values, labels, input_ids)
    assert fingerprint(backbone.clip) == backbone.fingerprint
    assert not any(p.requires_grad or p.grad is not None for p in backbone.clip.parameters())
    assert [name for name, _ in backbone.clip.named_modules()] == names


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
        with dropping_out(classifier, seed):
            dropped.append(features(classifier, pixel_values, input_ids)[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(dropped[0], dropped[1])
    assert not torch.allclose(dropped[0], dropped[2])
    assert not torch.allclose(dropped[0], still)
    assert torch.equal(features(classifier, pixel_values, input_ids)[0], still)


def test_what_is_counted_without_weights_is_what_is_tuned(
    checkpoint: Path, backbone: Backbone
) -> None:
    architecture = read_architecture(checkpoint)
    for classifier, count in (
        (FullClassifier(backbone), architecture.count_all()),
        (lora(backbone), architecture.count_lora(2)),
    ):
        assert sum(tuned.parameter.numel() for tuned in classifier.tuned) == count


def test_without_peft_the_message_names_the_extra(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"clipfit-study\[lora\]"):
        lora(backbone)
