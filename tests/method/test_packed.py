"""The packed pass gives what the reading version gives: features and gradients alike."""

from typing import Any

import pytest
import torch
from packed_case import Case, distance
from torch import Tensor

from study.method.model import Backbone, FewShotClassifier, Precision
from study.method.packed import PackedClassifiers
from study.method.subsets import parse

SUBSETS = [
    *("clipfit", "bitfit", "ln", "text-bias", "vision.ln", "none"),
    *("text.mlp.fc2.bias[1]", "text.ln_final", "vision.ln_post", "vision.attn.q.bias[2]"),
    *("text.ln1[1] + vision.mlp.fc1.bias[1:3]", "vision.ln_pre.weight + text.ln2.bias[0]"),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("subset", SUBSETS)
def test_it_equals_the_reading_version(
    backbone: Backbone, subset: str, runs: int, dtype: torch.dtype
) -> None:
    case = Case(backbone, subset, runs, dtype)
    plain, packed = case.plain(), case.packed()
    for ours, theirs in zip(packed, plain, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype
            assert distance(one, other) < TOLERANCE[dtype]
    if subset == "none":
        return
    expected, got = case.gradients(plain), case.gradients(packed)
    assert got.keys() == expected.keys()
    assert len(got) == runs * len(case.classifiers[0].tuned)
    for name, gradient in expected.items():
        assert distance(got[name], gradient) < TOLERANCE[dtype], name


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.03), ("float16", 0.005)])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("subset", ["clipfit", "bitfit"])
def test_in_reduced_precision_it_is_about_as_near_to_the_exact_as_the_reading_version(
    backbone: Backbone, subset: str, runs: int, precision: Precision, tolerance: float
) -> None:
    exact = Case(backbone, subset, runs, torch.float32)
    rough = Case(backbone, subset, runs, torch.float32, precision)
    for own, expected in zip(rough.packed(), exact.plain(), strict=True):
        for feature, other in zip(own, expected, strict=True):
            assert feature.dtype == torch.float32
            assert 0 < distance(feature, other) < tolerance
    expected_gradients = exact.gradients(exact.plain())
    plain, packed = (rough.gradients(features) for features in (rough.plain(), rough.packed()))
    assert packed.keys() == expected_gradients.keys()
    assert {gradient.dtype for gradient in packed.values()} == {torch.float32}

    def worst(gradients: dict[str, Tensor]) -> float:
        return max(distance(gradients[name], exact) for name, exact in expected_gradients.items())

    assert 0 < worst(packed) < 3 * worst(plain)


def test_a_checkpoint_with_the_old_end_of_text_id_is_pooled_alike(backbone: Backbone) -> None:
    # Its configuration says 2, and the largest id is what is pooled.
    backbone.clip.config.text_config.eos_token_id = 2
    backbone.clip.text_model.eos_token_id = 2
    case = Case(backbone, "clipfit", 1, torch.float64)
    ((text, _),) = case.packed()
    ((expected, _),) = case.plain()
    assert distance(text, expected) < 1e-10


def test_another_activation_is_taken_as_it_is(backbone: Backbone) -> None:
    # OpenCLIP's checkpoints have GELU, which is not QuickGELU.
    for tower in (backbone.clip.text_model, backbone.clip.vision_model):
        tower.config.hidden_act = "gelu"
        for layer in tower.encoder.layers:
            layer.mlp.activation_fn = torch.nn.GELU()
    case = Case(backbone, "bitfit", 2, torch.float64)
    plain, packed = case.plain(), case.packed()
    for ours, theirs in zip(packed, plain, strict=True):
        assert max(map(distance, ours, theirs)) < 1e-10


@pytest.mark.parametrize(
    ("subset", "stage"),
    [
        ("vision.ln_pre", 0),
        ("vision.ln1[0]", 1),
        ("vision.attn.out.bias[0]", 1),
        ("vision.mlp.fc1.bias[0]", 2),
        ("vision.ln2[1:]", 4),
        ("vision.ln_post", 7),
        ("text.bias", 8),
    ],
)
def test_images_begin_where_something_is_tuned(backbone: Backbone, subset: str, stage: int) -> None:
    packed = PackedClassifiers([FewShotClassifier(backbone, parse(subset))])
    assert packed.first_vision_stage == stage
    size = backbone.image_size
    shapes = [(2, 5, 32)] * 6 + [(2, 1, 32)] * 2 + [(2, 24)]
    assert packed.begin_images(torch.zeros(2, 3, size, size)).shape == shapes[stage]


def test_each_distinct_prefix_is_encoded_once(backbone: Backbone) -> None:
    packed = PackedClassifiers([FewShotClassifier(backbone, parse("clipfit"))])
    ids = backbone.tokenize(["a cat", "a dog", "a cat"])
    prompts = packed.begin_prompts([ids])
    # The start and "a" are shared; the third prompt is the first.
    assert len(prompts.hidden) == 2 + 2 + 2
    assert prompts.prefix_at.shape == ids.shape


def test_nothing_is_kept_for_gradients_below_what_is_tuned(backbone: Backbone) -> None:
    case = Case(backbone, "clipfit", 2, torch.float32)
    packed = PackedClassifiers(case.classifiers)
    assert not packed.begin_prompts(case.ids).hidden.requires_grad
    assert not packed.begin_images(case.pixels[0]).requires_grad


def test_steps_upon_steps_stay_together(backbone: Backbone) -> None:
    features: dict[bool, list[Any]] = {}
    for is_packed in (False, True):
        case = Case(backbone, "clipfit + text.bias", 3, torch.float64)
        for _ in range(5):
            gradients = case.gradients(case.packed() if is_packed else case.plain())
            for run, classifier in enumerate(case.classifiers):
                for tuned in classifier.tuned:
                    tuned.parameter.data.sub_(0.01 * gradients[f"{run} {tuned.name}"])
        features[is_packed] = [one for pair in case.plain() for one in pair]
    for one, other in zip(features[True], features[False], strict=True):
        assert distance(one, other) < 1e-8


def test_classifiers_of_different_subsets_are_refused(backbone: Backbone) -> None:
    different = [FewShotClassifier(backbone, parse(s)) for s in ("clipfit", "ln")]
    with pytest.raises(ValueError, match="the same parameters"):
        PackedClassifiers(different)
    with pytest.raises(ValueError, match="no classifiers"):
        PackedClassifiers([])
