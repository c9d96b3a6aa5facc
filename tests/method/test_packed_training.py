"""A packed step and epoch train several runs as the reading version trains each."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from packed_case import Case, distance
from torch import Tensor

from study.method.model import Backbone
from study.method.packed import PackedClassifiers, Prompts
from study.method.packed_training import Batch, packed_step, train_packed_epoch
from study.method.training import (
    Losses,
    NonFiniteLossError,
    Regularizer,
    Schedule,
    make_optimizer,
    train_epoch,
    training_step,
)


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


class Epoch:
    """What an epoch of packed runs takes: each batch has two images of every run."""

    def __init__(self, backbone: Backbone, subset: str = "clipfit") -> None:
        self.case = Case(backbone, subset, 3, torch.float64)
        classifiers = self.case.classifiers
        self.labels = [torch.arange(2) % len(ids) for ids in self.case.ids]
        self.zero_shot = [torch.roll(text.detach(), 1, -1) for text, _ in self.case.plain()]
        self.optimizers = [make_optimizer(c.tuned, bias_lr=0.02, ln_lr=0.004) for c in classifiers]
        self.packed = PackedClassifiers(classifiers)

    def images(self, at: int) -> list[Tensor]:
        """The images of each run's batch that begins at one of its images."""
        return [pixels[at : at + 2] for pixels in self.case.pixels]

    def batches(self, *starts: int) -> list[Batch]:
        return [
            ([self.packed.begin_images(own) for own in self.images(at)], self.labels)
            for at in starts
        ]

    def train(self, batches: list[Batch], epoch: int = 3, **options: Any) -> list[Losses]:
        return train_packed_epoch(
            self.packed,
            self.optimizers,
            batches,
            schedule=Schedule(6),
            epoch=epoch,
            prompts=self.packed.begin_prompts(self.case.ids),
            zero_shot_text=self.zero_shot,
            distill_weight=2.0,
            **options,
        )

    @property
    def tuned(self) -> list[Tensor]:
        return [t.parameter.detach().clone() for c in self.case.classifiers for t in c.tuned]


@pytest.mark.parametrize("regularizer", ["cosine", "l2_init", "none"])
@pytest.mark.parametrize("micro_batch", [None, 1])
def test_its_epoch_is_that_of_the_reading_version_run_by_run(
    backbone: Backbone, regularizer: Regularizer, micro_batch: int | None
) -> None:
    ours, theirs = Epoch(backbone), Epoch(backbone)
    losses = ours.train(ours.batches(0, 1), regularizer=regularizer, micro_batch=micro_batch)
    expected = [
        train_epoch(
            classifier,
            theirs.optimizers[run],
            [(theirs.images(at)[run], theirs.labels[run]) for at in (0, 1)],
            schedule=Schedule(6),
            epoch=3,
            input_ids=theirs.case.ids[run],
            zero_shot_text=theirs.zero_shot[run],
            distill_weight=2.0,
            regularizer=regularizer,
        )
        for run, classifier in enumerate(theirs.case.classifiers)
    ]
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), atol=0, rtol=1e-10)
    for one, other in zip(ours.tuned, theirs.tuned, strict=True):
        assert distance(one, other) < 1e-10


def test_an_epoch_sets_each_kinds_rate_in_every_run(backbone: Backbone) -> None:
    given = Epoch(backbone)
    given.train(given.batches(0), epoch=4)
    for optimizer in given.optimizers:
        rates = {group["kind"]: group["lr"] for group in optimizer.param_groups}
        assert rates == pytest.approx({"bias": 0.01, "ln": 0.002})


def test_a_loss_of_one_run_that_is_not_finite_is_told_with_its_epoch_and_step(
    backbone: Backbone,
) -> None:
    given = Epoch(backbone)
    given.case.pixels[2][2] = math.nan  # of the second batch
    batches = given.batches(0, 1)
    first = Epoch(backbone)
    first.train(first.batches(0))
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 3, step 1"):
        given.train(batches)
    assert all(map(torch.equal, given.tuned, first.tuned)), "the step at fault updates nothing"


def test_a_last_step_that_makes_a_parameter_infinite_does_not_go_unseen(backbone: Backbone) -> None:
    given = Epoch(backbone, "vision.ln_post")
    for group in given.optimizers[1].param_groups:
        group["base_lr"] = math.inf
    with pytest.raises(NonFiniteLossError, match="not finite after epoch 3"):
        given.train(given.batches(0))


def test_an_epoch_without_batches_is_an_error(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="epoch 3 has no batches"):
        Epoch(backbone).train([])
