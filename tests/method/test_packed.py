"""The packed pass gives what the reading version gives: features and gradients alike."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from study.method.model import Backbone, FewShotClassifier, Precision
from study.method.packed import PackedClassifiers, Prompts
from study.method.packed_training import packed_step
from study.method.subsets import parse
from study.method.training import (
    Losses,
    NonFiniteLossError,
    make_optimizer,
    training_step,
)

SUBSETS = [
    *("clipfit", "bitfit", "ln", "text-bias", "vision.ln", "none"),
    *("text.mlp.fc2.bias[1]", "text.ln_final", "vision.ln_post", "vision.attn.q.bias[2]"),
    *("text.ln1[1] + vision.mlp.fc1.bias[1:3]", "vision.ln_pre.weight + text.ln2.bias[0]"),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
WORDS = [
    ["a photo of a cat", "a photo of a dog", "a dog"],
    ["a photo of a cat", "a photo of a red bird of a cat"],
    ["bird"],
]


class Case:
    """Classifiers at different points, with images and prompts of their own."""

    def __init__(
        self,
        backbone: Backbone,
        subset: str,
        runs: int,
        dtype: torch.dtype,
        precision: Precision = "float32",
    ) -> None:
        backbone.clip.to(dtype)
        generator = torch.Generator().manual_seed(3)
        self.classifiers = [
            FewShotClassifier(backbone, parse(subset), precision=precision) for _ in range(runs)
        ]
        for tuned in (t for classifier in self.classifiers for t in classifier.tuned):
            noise = torch.randn(tuned.parameter.shape, generator=generator, dtype=dtype)
            tuned.parameter.data.add_(0.2 * noise)
        size = backbone.image_size
        self.pixels = [
            torch.randn(3 + run, 3, size, size, generator=generator, dtype=dtype)
            for run in range(runs)
        ]
        self.ids = [backbone.tokenize(WORDS[run]) for run in range(runs)]

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Images and prompts of each run."""
        return list(zip(self.pixels, self.ids, strict=True))

    def plain(self) -> list[tuple[Tensor, Tensor]]:
        """Text and image features by transformers' own code."""
        return [
            (classifier.encode_text(ids), classifier.encode_image(pixels))
            for classifier, ids, pixels in zip(self.classifiers, self.ids, self.pixels, strict=True)
        ]

    def packed(self) -> list[tuple[Tensor, Tensor]]:
        """The same by the packed pass."""
        packed = PackedClassifiers(self.classifiers)
        text = packed.encode_text(packed.begin_prompts(self.ids))
        image = packed.encode_image([packed.begin_images(pixels) for pixels in self.pixels])
        return list(zip(text, image, strict=True))

    def gradients(self, features: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Of a sum that weighs every logit differently, by run and name."""
        loss = torch.zeros((), dtype=features[0][0].dtype)
        for classifier, (text, image) in zip(self.classifiers, features, strict=True):
            logits = classifier.logits(image, text)
            loss = loss + (logits * torch.arange(logits.numel()).view_as(logits).sin()).sum()
        for tuned in (t for classifier in self.classifiers for t in classifier.tuned):
            tuned.parameter.grad = None
        loss.backward()
        return {
            f"{run} {tuned.name}": tuned.parameter.grad
            for run, classifier in enumerate(self.classifiers)
            for tuned in classifier.tuned
            if tuned.parameter.grad is not None
        }


def distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


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


@pytest.mark.parametrize("micro_batch", [None, 1, 2, 3])
@pytest.mark.parametrize("subset", ["clipfit", "text-bias", "vision.ln2"])
def test_its_step_is_the_reading_versions_also_where_batches_pass_in_parts(
    backbone: Backbone, subset: str, micro_batch: int | None
) -> None:
    """The runs have 3, 4 and 5 images, so that some have none in the last parts."""
    losses: dict[bool, list[Losses]] = {}
    tuned: dict[bool, list[Tensor]] = {}
    for is_packed in (False, True):
        case = Case(backbone, subset, 3, torch.float64)
        labels = [torch.arange(len(own)) % len(ids) for own, ids in case.batches()]
        zero_shot = [torch.roll(text.detach(), 1, -1) for text, _ in case.plain()]
        optimizers = [
            make_optimizer(classifier.tuned, bias_lr=0.02, ln_lr=0.02)
            for classifier in case.classifiers
        ]
        packed = PackedClassifiers(case.classifiers)
        prompts = packed.begin_prompts(case.ids)
        images = [packed.begin_images(pixels) for pixels in case.pixels]
        for _ in range(2):
            if is_packed:
                losses[True] = packed_step(
                    packed, optimizers, (images, labels), prompts, zero_shot, 2.0,
                    micro_batch=micro_batch,
                )  # fmt: skip
                continue
            losses[False] = [
                training_step(classifier, optimizer, pixels, its_labels, ids, text, 2.0)
                for classifier, optimizer, (pixels, ids), its_labels, text in zip(
                    case.classifiers, optimizers, case.batches(), labels, zero_shot, strict=True
                )
            ]
        tuned[is_packed] = [t.parameter for c in case.classifiers for t in c.tuned]
    for ours, theirs in zip(losses[True], losses[False], strict=True):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), atol=0, rtol=1e-10)
    for one, other in zip(tuned[True], tuned[False], strict=True):
        assert distance(one, other) < 1e-10


def test_no_more_images_of_a_run_than_a_micro_batch_pass_at_once_and_the_text_passes_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(backbone, "clipfit", 3, torch.float32)
    packed = PackedClassifiers(case.classifiers)
    passed: list[list[int]] = []
    encode_image, encode_text = packed.encode_image, packed.encode_text

    def spy(images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        passed.append([len(own) for own in images])
        return encode_image(images)

    def spy_on_text(prompts: Prompts) -> tuple[Tensor, ...]:
        passed.append([])
        return encode_text(prompts)

    monkeypatch.setattr(packed, "encode_image", spy)
    monkeypatch.setattr(packed, "encode_text", spy_on_text)
    optimizers = [make_optimizer(c.tuned, bias_lr=0.02, ln_lr=0.02) for c in case.classifiers]
    labels = [torch.zeros(len(own), dtype=torch.int64) for own, _ in case.batches()]
    images = [packed.begin_images(pixels) for pixels in case.pixels]
    zero_shot = [text.detach() for text, _ in case.plain()]
    packed_step(
        packed, optimizers, (images, labels), packed.begin_prompts(case.ids), zero_shot, 2.0,
        micro_batch=2,
    )  # fmt: skip
    assert passed == [[], [2, 2, 2], [1, 2, 2], [0, 0, 1]]


def test_a_part_with_a_loss_that_is_not_finite_updates_nothing(backbone: Backbone) -> None:
    case = Case(backbone, "clipfit", 2, torch.float32)
    case.pixels[1][-1] = math.nan
    packed = PackedClassifiers(case.classifiers)
    optimizers = [make_optimizer(c.tuned, bias_lr=0.02, ln_lr=0.02) for c in case.classifiers]
    labels = [torch.zeros(len(own), dtype=torch.int64) for own, _ in case.batches()]
    images = [packed.begin_images(pixels) for pixels in case.pixels]
    zero_shot = [text.detach() for text, _ in case.plain()]
    before = [t.parameter.clone() for c in case.classifiers for t in c.tuned]
    with pytest.raises(NonFiniteLossError, match="the loss is nan"):
        packed_step(
            packed, optimizers, (images, labels), packed.begin_prompts(case.ids), zero_shot, 2.0,
            micro_batch=2,
        )  # fmt: skip
    after = [t.parameter for c in case.classifiers for t in c.tuned]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_classifiers_of_different_subsets_are_refused(backbone: Backbone) -> None:
    different = [FewShotClassifier(backbone, parse(s)) for s in ("clipfit", "ln")]
    with pytest.raises(ValueError, match="the same parameters"):
        PackedClassifiers(different)
    with pytest.raises(ValueError, match="no classifiers"):
        PackedClassifiers([])
