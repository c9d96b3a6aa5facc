import math
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from study.errors import StudyError
from study.method.model import Backbone, FewShotClassifier
from study.method.parameters import TunedParameter
from study.method.subsets import parse
from study.method.training import (
    NonFiniteLossError,
    Regularizer,
    Schedule,
    distance_to_initial,
    make_optimizer,
    objective,
    train_epoch,
    training_step,
)

# The arguments of `training_step` but the classifier, the optimizer and λ.
Batch = dict[str, Any]


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone, parse("clipfit"))


@pytest.fixture
def zero_shot_text(classifier: FewShotClassifier, input_ids: Tensor) -> Tensor:
    return classifier.encode_text(input_ids).detach()


@pytest.fixture
def batch(pixel_values: Tensor, labels: Tensor, input_ids: Tensor, zero_shot_text: Tensor) -> Batch:
    return {
        "pixel_values": pixel_values,
        "labels": labels,
        "input_ids": input_ids,
        "zero_shot_text": zero_shot_text,
    }


def values(tuned: Sequence[TunedParameter]) -> dict[str, Tensor]:
    return {t.name: t.parameter.detach().clone() for t in tuned}


def gradients(classifier: FewShotClassifier) -> dict[str, Tensor]:
    assert all(t.parameter.grad is not None for t in classifier.tuned)
    return {
        t.name: t.parameter.grad.clone() for t in classifier.tuned if t.parameter.grad is not None
    }


def test_the_objective_is_cross_entropy_plus_the_weighted_cosine_distance() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    zero_shot = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    losses = objective(logits, torch.tensor([0, 1]), text, zero_shot, 5.0)
    cross_entropy = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert losses.cross_entropy.item() == pytest.approx(cross_entropy, abs=1e-6)
    assert losses.distillation.item() == pytest.approx(0.2, abs=1e-6)
    assert losses.loss.item() == pytest.approx(cross_entropy + 5 * 0.2, abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_distillation_is_zero_before_the_first_step_and_grows_with_it(
    backbone: Backbone, precision: Any, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    classifier = FewShotClassifier(backbone, parse("clipfit"), precision=precision)
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.1, ln_lr=0.1)
    zero_shot_text = classifier.encode_text(input_ids).detach()
    step = (classifier, optimizer, pixel_values, labels, input_ids, zero_shot_text, 1.0)
    assert abs(training_step(*step).distillation.item()) < 1e-6
    assert training_step(*step).distillation.item() > 1e-4


def test_lambda_pulls_the_text_features_back_and_none_of_it_leaves_cross_entropy_alone(
    backbone: Backbone, batch: Batch
) -> None:
    ends = {}
    for distill_weight in (0.0, 100.0):
        classifier = FewShotClassifier(backbone, parse("clipfit"))
        optimizer = make_optimizer(classifier.tuned, bias_lr=0.02, ln_lr=0.02)
        for _ in range(5):
            losses = training_step(classifier, optimizer, **batch, distill_weight=distill_weight)
        ends[distill_weight] = losses
    assert torch.equal(ends[0.0].loss, ends[0.0].cross_entropy)
    assert 0 < ends[100.0].distillation < ends[0.0].distillation / 2


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 1e-5), (1, 0.002), (2, 0.001866025403784), (4, 0.001), (5, 0.0005)],
)
def test_the_schedule_warms_up_one_epoch_then_follows_a_cosine(epoch: int, rate: float) -> None:
    schedule = Schedule(6)
    expected = rate if epoch != 2 else 0.001 * (1 + math.cos(math.pi / 6))
    assert schedule.learning_rate(0.002, epoch) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(rate, abs=1e-12)


def test_the_schedule_ends_above_zero_because_its_cosine_starts_late() -> None:
    last = Schedule(50).learning_rate(1.0, 49)
    assert last == pytest.approx((1 + math.cos(math.pi * 48 / 50)) / 2, abs=1e-12)
    assert last > 0


def test_warming_up_never_exceeds_the_base_rate() -> None:
    assert Schedule(6).learning_rate(1e-6, 0) == 1e-6
    assert Schedule(6, warmup_lr=1e-3).learning_rate(0.002, 0) == 1e-3


def test_sgd_decays_every_tuned_parameter_and_keeps_momentum(
    backbone: Backbone, batch: Batch
) -> None:
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    optimizer = make_optimizer(
        classifier.tuned, bias_lr=0.03, ln_lr=0.01, momentum=0.9, weight_decay=0.1
    )
    rates = {"bias": 0.03, "ln": 0.01}
    velocity = {t.name: torch.zeros_like(t.parameter) for t in classifier.tuned}
    for _ in range(2):
        before = values(classifier.tuned)
        training_step(classifier, optimizer, **batch, distill_weight=1.0)
        gradient = gradients(classifier)
        for tuned in classifier.tuned:
            name = tuned.name
            velocity[name] = 0.9 * velocity[name] + gradient[name] + 0.1 * before[name]
            expected = before[name] - rates[tuned.kind] * velocity[name]
            torch.testing.assert_close(tuned.parameter.detach(), expected, atol=1e-7, rtol=1e-5)


def test_a_step_does_not_add_to_the_gradient_of_the_last(
    classifier: FewShotClassifier, batch: Batch
) -> None:
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.0, ln_lr=0.0)
    training_step(classifier, optimizer, **batch, distill_weight=1.0)
    first = gradients(classifier)
    training_step(classifier, optimizer, **batch, distill_weight=1.0)
    for name, gradient in gradients(classifier).items():
        torch.testing.assert_close(gradient, first[name])


def test_adamw_decays_apart_from_the_gradient(classifier: FewShotClassifier, batch: Batch) -> None:
    optimizer = make_optimizer(
        classifier.tuned, bias_lr=0.03, ln_lr=0.01, optimizer="adamw", weight_decay=0.1
    )
    before = values(classifier.tuned)
    training_step(classifier, optimizer, **batch, distill_weight=1.0)
    gradient = gradients(classifier)
    for tuned in classifier.tuned:
        rate = {"bias": 0.03, "ln": 0.01}[tuned.kind]
        # The first step of Adam is the gradient over its own size.
        direction = gradient[tuned.name] / (gradient[tuned.name].abs() + 1e-8)
        expected = before[tuned.name] * (1 - rate * 0.1) - rate * direction
        torch.testing.assert_close(tuned.parameter.detach(), expected, atol=1e-5, rtol=0)


def test_a_kind_without_rate_is_left_out_and_a_rate_of_zero_stands_still(
    classifier: FewShotClassifier, batch: Batch
) -> None:
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.0, ln_lr=0.1)
    before = values(classifier.tuned)
    train_epoch(
        classifier,
        optimizer,
        [(batch["pixel_values"], batch["labels"])],
        schedule=Schedule(2),
        epoch=0,
        input_ids=batch["input_ids"],
        zero_shot_text=batch["zero_shot_text"],
        distill_weight=1.0,
    )
    for tuned in classifier.tuned:
        assert torch.equal(tuned.parameter, before[tuned.name]) == (tuned.kind == "bias")


def test_a_kind_that_is_tuned_needs_a_rate_and_one_that_is_not_needs_none(
    backbone: Backbone,
) -> None:
    norms = FewShotClassifier(backbone, parse("vision.ln")).tuned
    with pytest.raises(ValueError, match=r"ln parameters are tuned, but ln_lr is None"):
        make_optimizer(norms, bias_lr=0.1, ln_lr=None)
    assert len(make_optimizer(norms, bias_lr=None, ln_lr=0.1).param_groups) == 1
    with pytest.raises(ValueError, match="needs tuned parameters"):
        make_optimizer([], bias_lr=0.1, ln_lr=0.1)


def epochs(
    classifier: FewShotClassifier,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[Tensor, Tensor]],
    batch: Batch,
    **options: Any,
) -> Any:
    return train_epoch(
        classifier,
        optimizer,
        batches,
        **{"schedule": Schedule(6), "epoch": 3, "distill_weight": 1.0, **options},
        input_ids=batch["input_ids"],
        zero_shot_text=batch["zero_shot_text"],
    )


def test_an_epoch_sets_each_kinds_rate_and_averages_its_losses(
    backbone: Backbone, batch: Batch
) -> None:
    batches = [(batch["pixel_values"][at : at + 2], batch["labels"][at : at + 2]) for at in (0, 2)]
    whole, single = (FewShotClassifier(backbone, parse("clipfit")) for _ in range(2))
    optimizer = make_optimizer(whole.tuned, bias_lr=0.02, ln_lr=0.004)
    mean = epochs(whole, optimizer, batches, batch)
    rates = {group["kind"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {
        kind: pytest.approx(Schedule(6).learning_rate(base, 3), abs=1e-12)
        for kind, base in (("bias", 0.02), ("ln", 0.004))
    }
    by_hand = make_optimizer(single.tuned, bias_lr=rates["bias"], ln_lr=rates["ln"])
    steps = [
        training_step(single, by_hand, *pair, batch["input_ids"], batch["zero_shot_text"], 1.0)
        for pair in batches
    ]
    for name in mean._fields:
        average = sum(getattr(step, name).item() for step in steps) / 2
        assert getattr(mean, name).item() == pytest.approx(average, abs=1e-6)
        assert not getattr(mean, name).requires_grad
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), single.parameters(), strict=True)
    )


def test_a_loss_that_is_not_finite_names_epoch_and_step_and_updates_nothing(
    classifier: FewShotClassifier, batch: Batch
) -> None:
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.1, ln_lr=0.1)
    good = (batch["pixel_values"], batch["labels"])
    bad = (torch.full_like(batch["pixel_values"], math.nan), batch["labels"])
    epochs(classifier, optimizer, [good], batch)
    before = values(classifier.tuned)
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 3, step 0") as caught:
        epochs(classifier, optimizer, [bad], batch)
    assert isinstance(caught.value, StudyError)
    assert all(torch.equal(t.parameter, before[t.name]) for t in classifier.tuned)
    with pytest.raises(NonFiniteLossError, match="epoch 4, step 1"):
        epochs(classifier, optimizer, [good, bad], batch, epoch=4)


def test_a_last_step_that_makes_parameters_infinite_does_not_go_unseen(
    classifier: FewShotClassifier, batch: Batch
) -> None:
    optimizer = make_optimizer(classifier.tuned, bias_lr=1e38, ln_lr=1e38, weight_decay=1e3)
    good = (batch["pixel_values"], batch["labels"])
    with pytest.raises(NonFiniteLossError, match="not finite after epoch 1"):
        epochs(classifier, optimizer, [good], batch, epoch=1)


def test_an_epoch_without_batches_is_an_error(classifier: FewShotClassifier, batch: Batch) -> None:
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.1, ln_lr=0.1)
    with pytest.raises(ValueError, match="epoch 3 has no batches"):
        epochs(classifier, optimizer, [], batch)


def test_the_distance_to_the_initial_values_is_a_sum_over_every_number(
    classifier: FewShotClassifier,
) -> None:
    assert distance_to_initial(classifier.tuned).item() == 0
    with torch.no_grad():
        for tuned in classifier.tuned:
            tuned.parameter.add_(0.5)
    numbers = sum(t.parameter.numel() for t in classifier.tuned)
    assert distance_to_initial(classifier.tuned).item() == pytest.approx(numbers / 4, rel=1e-5)


def test_l2_init_pulls_towards_the_initial_values_by_twice_lambda(
    backbone: Backbone, batch: Batch
) -> None:
    found = {}
    regularizers: tuple[Regularizer, ...] = ("none", "l2_init")
    for regularizer in regularizers:
        classifier = FewShotClassifier(backbone, parse("clipfit"))
        with torch.no_grad():
            for tuned in classifier.tuned:
                tuned.parameter.add_(0.01)
        optimizer = make_optimizer(classifier.tuned, bias_lr=0.0, ln_lr=0.0)
        losses = training_step(
            classifier, optimizer, **batch, distill_weight=3.0, regularizer=regularizer
        )
        found[regularizer] = losses, gradients(classifier)
    losses, without = found["l2_init"][0], found["none"][1]
    assert losses.loss.item() == pytest.approx(
        (losses.cross_entropy + 3 * losses.distillation).item(), rel=1e-6
    )
    for name, gradient in found["l2_init"][1].items():
        torch.testing.assert_close(
            gradient - without[name], torch.full_like(gradient, 2 * 3 * 0.01), atol=1e-5, rtol=0
        )


def test_without_regulariser_lambda_has_no_effect(backbone: Backbone, batch: Batch) -> None:
    ends = []
    for distill_weight in (0.0, 100.0):
        classifier = FewShotClassifier(backbone, parse("clipfit"))
        optimizer = make_optimizer(classifier.tuned, bias_lr=0.02, ln_lr=0.02)
        pair = [(batch["pixel_values"], batch["labels"])] * 2
        losses = epochs(
            classifier, optimizer, pair, batch, distill_weight=distill_weight, regularizer="none"
        )
        assert losses.distillation.item() == 0
        assert torch.equal(losses.loss, losses.cross_entropy)
        ends.append(values(classifier.tuned))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("regularizer", get_args(Regularizer))
def test_every_regulariser_reaches_the_step_from_the_epoch(
    backbone: Backbone, batch: Batch, regularizer: Regularizer
) -> None:
    pair = [(batch["pixel_values"], batch["labels"])] * 2
    by_epoch, by_step = (FewShotClassifier(backbone, parse("clipfit")) for _ in range(2))
    mean = epochs(
        by_epoch,
        make_optimizer(by_epoch.tuned, bias_lr=0.02, ln_lr=0.02),
        pair,
        batch,
        regularizer=regularizer,
        epoch=1,
    )
    optimizer = make_optimizer(by_step.tuned, bias_lr=0.02, ln_lr=0.02)
    second = [
        training_step(by_step, optimizer, **batch, distill_weight=1.0, regularizer=regularizer)
        for _ in pair
    ][1]
    assert mean.distillation.item() == pytest.approx(second.distillation.item() / 2, abs=1e-6)
    assert (second.distillation.item() > 1e-6) == (regularizer != "none")


def test_an_unknown_regulariser_or_an_l2_distance_of_nothing_is_an_error() -> None:
    some = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"'l2'.*cosine.*l2_init.*none"):
        objective(some, torch.tensor([0, 1]), some, some, 1.0, regularizer="l2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs tuned parameters"):
        objective(some, torch.tensor([0, 1]), some, some, 1.0, regularizer="l2_init")


@pytest.mark.parametrize("subset", ["text.mlp.fc2.bias", "vision.ln", "bitfit", "ln"])
def test_training_fits_a_small_batch(backbone: Backbone, batch: Batch, subset: str) -> None:
    classifier = FewShotClassifier(backbone, parse(subset))
    optimizer = make_optimizer(classifier.tuned, bias_lr=0.02, ln_lr=0.02)
    losses = [
        training_step(classifier, optimizer, **batch, distill_weight=0.1).loss.item()
        for _ in range(20)
    ]
    assert losses[-1] < losses[0] - 0.05
