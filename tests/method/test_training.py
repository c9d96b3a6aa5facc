"""One step, one objective and one epoch, for the reading version and the staged one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from study.backbones.backbone import Backbone
from study.errors import StudyError, SubsetError
from study.method import parameters
from study.method.model import FewShotClassifier, TunedParameter
from study.method.recipe import Regularizer
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.method.training import (
    REFERENCE,
    Losses,
    NonFiniteLossError,
    Objective,
    Recipe,
    Schedule,
    make_optimizer,
    train_epoch,
    training_step,
)
from tests.staged_case import Case, distance

RATES = {"bias": 0.02, "ln": 0.02}


@dataclass(frozen=True)
class Batch:
    """Images and labels, and the texts that they are classified by."""

    images: Tensor
    labels: Tensor
    prompts: Tensor
    zero_shot_text: Tensor

    def step(
        self,
        classifier: FewShotClassifier,
        optimizer: torch.optim.Optimizer,
        distill_weight: float = 1.0,
        recipe: Recipe = REFERENCE,
    ) -> Losses:
        """Take a step."""
        objective = Objective(self.prompts, self.zero_shot_text, distill_weight, recipe)
        return training_step(classifier, optimizer, self.images, self.labels, objective)


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone, parse("clipfit"))


@pytest.fixture
def zero_shot_text(classifier: FewShotClassifier, input_ids: Tensor) -> Tensor:
    return classifier.encode_text(input_ids).detach()


@pytest.fixture
def batch(pixel_values: Tensor, labels: Tensor, input_ids: Tensor, zero_shot_text: Tensor) -> Batch:
    return Batch(pixel_values, labels, input_ids, zero_shot_text)


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
    objective = Objective(None, zero_shot, 5.0)
    losses = objective.losses(logits, torch.tensor([0, 1]), text)
    cross_entropy = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert losses.cross_entropy.item() == pytest.approx(cross_entropy, abs=1e-6)
    assert losses.distillation.item() == pytest.approx(0.2, abs=1e-6)
    assert losses.loss.item() == pytest.approx(cross_entropy + 5 * 0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 1e-5), (1, 0.002), (2, 0.001866025403784), (4, 0.001), (5, 0.0005)],
)
def test_the_schedule_warms_up_one_epoch_then_follows_a_cosine(epoch: int, rate: float) -> None:
    assert Schedule(6).learning_rate(0.002, epoch) == pytest.approx(rate, abs=1e-12)


def test_warming_up_never_exceeds_the_base_rate() -> None:
    assert Schedule(6).learning_rate(1e-6, 0) == 1e-6
    assert Schedule(6, warmup_lr=1e-3).learning_rate(0.002, 0) == 1e-3


def test_adamw_decays_apart_from_the_gradient(classifier: FewShotClassifier, batch: Batch) -> None:
    optimizer = make_optimizer(
        classifier.tuned, {"bias": 0.03, "ln": 0.01}, Recipe("adamw", weight_decay=0.1)
    )
    before = values(classifier.tuned)
    batch.step(classifier, optimizer)
    gradient = gradients(classifier)
    for tuned in classifier.tuned:
        rate = {"bias": 0.03, "ln": 0.01}[tuned.kind]
        # The first step of Adam is the gradient over its own size.
        direction = gradient[tuned.name] / (gradient[tuned.name].abs() + 1e-8)
        expected = before[tuned.name] * (1 - rate * 0.1) - rate * direction
        torch.testing.assert_close(tuned.parameter.detach(), expected, atol=1e-5, rtol=0)


def test_a_kind_that_is_tuned_needs_a_rate_and_one_that_is_not_needs_none(
    backbone: Backbone,
) -> None:
    norms = FewShotClassifier(backbone, parse("vision.ln")).tuned
    with pytest.raises(ValueError, match=r"ln parameters are tuned, but have no learning rate"):
        make_optimizer(norms, {"bias": 0.1})
    assert len(make_optimizer(norms, {"ln": 0.1}).param_groups) == 1
    with pytest.raises(ValueError, match="needs tuned parameters"):
        make_optimizer([], {"bias": 0.1, "ln": 0.1})


def epochs(
    classifier: FewShotClassifier,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[Tensor, Tensor]],
    batch: Batch,
    epoch: int = 3,
    recipe: Recipe = REFERENCE,
) -> Losses:
    objective = Objective(batch.prompts, batch.zero_shot_text, 1.0, recipe)
    Schedule(6).set_rates(optimizer, epoch)
    return train_epoch(classifier, optimizer, batches, objective, epoch=epoch)


def test_an_epoch_sets_each_kinds_rate_and_averages_its_losses(
    backbone: Backbone, batch: Batch
) -> None:
    batches = [(batch.images[at : at + 2], batch.labels[at : at + 2]) for at in (0, 2)]
    whole, single = (FewShotClassifier(backbone, parse("clipfit")) for _ in range(2))
    optimizer = make_optimizer(whole.tuned, {"bias": 0.02, "ln": 0.004})
    mean = epochs(whole, optimizer, batches, batch)
    rates = {group["kind"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {
        kind: pytest.approx(Schedule(6).learning_rate(base, 3), abs=1e-12)
        for kind, base in (("bias", 0.02), ("ln", 0.004))
    }
    by_hand = make_optimizer(single.tuned, rates)
    steps = [
        replace(batch, images=images, labels=labels).step(single, by_hand)
        for images, labels in batches
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
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
    good = (batch.images, batch.labels)
    bad = (torch.full_like(batch.images, math.nan), batch.labels)
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
    rates = {"bias": 1e38, "ln": 1e38}
    optimizer = make_optimizer(classifier.tuned, rates, Recipe(weight_decay=1e3))
    good = (batch.images, batch.labels)
    with pytest.raises(NonFiniteLossError, match="not finite after epoch 1"):
        epochs(classifier, optimizer, [good], batch, epoch=1)


def test_an_epoch_without_batches_is_an_error(classifier: FewShotClassifier, batch: Batch) -> None:
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.1, "ln": 0.1})
    with pytest.raises(ValueError, match="epoch 3 has no batches"):
        epochs(classifier, optimizer, [], batch)


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
        optimizer = make_optimizer(classifier.tuned, {"bias": 0.0, "ln": 0.0})
        recipe = Recipe(regularizer=regularizer)
        losses = batch.step(classifier, optimizer, 3.0, recipe)
        found[regularizer] = losses, gradients(classifier)
    losses, without = found["l2_init"][0], found["none"][1]
    assert losses.loss.item() == pytest.approx(
        (losses.cross_entropy + 3 * losses.distillation).item(), rel=1e-6
    )
    for name, gradient in found["l2_init"][1].items():
        torch.testing.assert_close(
            gradient - without[name], torch.full_like(gradient, 2 * 3 * 0.01), atol=1e-5, rtol=0
        )


def test_every_regulariser_reaches_the_step_from_the_epoch(
    backbone: Backbone, batch: Batch
) -> None:
    pairs = [(batch.images, batch.labels)] * 2
    distances = {}
    for regularizer in get_args(Regularizer):
        classifier = FewShotClassifier(backbone, parse("clipfit"))
        optimizer = make_optimizer(classifier.tuned, RATES)
        recipe = Recipe(regularizer=regularizer)
        losses = epochs(classifier, optimizer, pairs, batch, recipe=recipe, epoch=1)
        distances[regularizer] = losses.distillation.item()
    assert distances.pop("none") == 0
    assert all(distance > 1e-6 for distance in distances.values())
    assert distances["cosine"] != distances["l2_init"]


def test_an_unknown_regulariser_or_an_l2_distance_of_nothing_is_an_error() -> None:
    some = torch.zeros(2, 2)
    unknown = Objective(None, some, 1.0, Recipe(regularizer="l2"))  # type: ignore[arg-type]
    distance = Objective(None, some, 1.0, Recipe(regularizer="l2_init"))
    with pytest.raises(ValueError, match=r"'l2'.*cosine.*l2_init.*none"):
        unknown.losses(some, torch.tensor([0, 1]), some)
    with pytest.raises(ValueError, match="needs tuned parameters"):
        distance.losses(some, torch.tensor([0, 1]), some)


@pytest.mark.parametrize("number", range(3))
def test_the_reading_versions_step_in_parts_is_that_of_the_whole_batch(
    backbone: Backbone, number: int
) -> None:
    ends = []
    for micro_batch in (None, 2):
        case = Case(backbone, "clipfit", number, torch.float64)
        zero_shot = torch.roll(case.plain()[0].detach(), 1, -1)
        training_step(
            case.classifier, make_optimizer(case.classifier.tuned, RATES), case.pixels, case.labels,
            Objective(case.ids, zero_shot, 2.0), micro_batch=micro_batch,
        )  # fmt: skip
        ends.append(case.tuned())
    for one, other in zip(*ends, strict=True):
        assert distance(one, other) < 1e-10


def staged_step(case: Case, staged: StagedClassifier, micro_batch: int | None = None) -> None:
    objective = Objective(staged.begin_prompts(case.ids), case.plain()[0].detach(), 2.0)
    training_step(
        staged, make_optimizer(case.classifier.tuned, RATES), staged.begin_images(case.pixels),
        case.labels, objective, micro_batch=micro_batch,
    )  # fmt: skip


def test_no_more_images_than_a_micro_batch_pass_at_once_and_the_text_passes_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(backbone, "clipfit", 2, torch.float32)
    staged = StagedClassifier(case.classifier)
    passed: list[int] = []
    encode_image, encode_text = staged.encode_image, staged.encode_text

    def spy(images: Tensor) -> Tensor:
        passed.append(len(images))
        return encode_image(images)

    def spy_on_text(prompts: Prompts) -> Tensor:
        passed.append(0)
        return encode_text(prompts)

    monkeypatch.setattr(staged, "encode_image", spy)
    monkeypatch.setattr(staged, "encode_text", spy_on_text)
    staged_step(case, staged, micro_batch=2)
    assert passed == [0, 2, 2, 1]


def test_a_part_with_a_loss_that_is_not_finite_updates_nothing(backbone: Backbone) -> None:
    case = Case(backbone, "clipfit", 1, torch.float32)
    case.pixels[-1] = math.nan
    staged = StagedClassifier(case.classifier)
    before = case.tuned()
    with pytest.raises(NonFiniteLossError, match="the loss is nan"):
        staged_step(case, staged, micro_batch=2)
    assert all(map(torch.equal, case.tuned(), before))


@pytest.mark.parametrize("regularizer", get_args(Regularizer))
@pytest.mark.parametrize("micro_batch", [None, 1])
@pytest.mark.parametrize("number", range(3))
def test_an_epoch_of_the_staged_version_is_that_of_the_reading_version(
    backbone: Backbone, regularizer: Regularizer, micro_batch: int | None, number: int
) -> None:
    ends = []
    for is_staged in (False, True):
        case = Case(backbone, "clipfit", number, torch.float64)
        classifier, staged = case.classifier, StagedClassifier(case.classifier)
        zero_shot = torch.roll(case.plain()[0].detach(), 1, -1)
        batches = [(case.pixels[at : at + 2], case.labels[at : at + 2]) for at in (0, 1)]
        objective = Objective(case.ids, zero_shot, 2.0, Recipe(regularizer=regularizer))
        optimizer = make_optimizer(classifier.tuned, {"bias": 0.02, "ln": 0.004})
        Schedule(6).set_rates(optimizer, 3)
        if is_staged:
            begun = [(staged.begin_images(pixels), labels) for pixels, labels in batches]
            of_prefixes = Objective(
                staged.begin_prompts(case.ids), zero_shot, 2.0, Recipe(regularizer=regularizer)
            )
            losses = train_epoch(
                staged, optimizer, begun, of_prefixes, epoch=3, micro_batch=micro_batch
            )
        else:
            losses = train_epoch(classifier, optimizer, batches, objective, epoch=3)
        ends.append((torch.tensor(losses), case.tuned()))
    (expected, theirs), (found, ours) = ends
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-10)
    for one, other in zip(ours, theirs, strict=True):
        assert distance(one, other) < 1e-10


def test_a_tuned_tensor_without_a_gradient_is_refused_by_name_and_nothing_is_updated(
    classifier: FewShotClassifier, batch: Batch
) -> None:
    idle = nn.Parameter(torch.zeros(3))
    classifier.tuned.append(TunedParameter("vision_model.idle.bias", "bias", idle))
    optimizer = make_optimizer(classifier.tuned, RATES)
    before = values(classifier.tuned)
    with pytest.raises(SubsetError, match=r"1 tuned tensors got no .* vision_model\.idle\.bias"):
        batch.step(classifier, optimizer)
    assert all(torch.equal(t.parameter, before[t.name]) for t in classifier.tuned)


def test_a_site_that_is_filed_under_a_stage_too_late_is_refused_in_the_first_step(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [replace(row, stage="mlp") if row.name == "ln1" else row for row in parameters.SITES]
    monkeypatch.setattr(parameters, "SITES", tuple(late))
    case = Case(backbone, "vision.ln1[1:]", 0, torch.float32)
    staged = StagedClassifier(case.classifier)
    with pytest.raises(SubsetError, match=r"first vision_model\.encoder\.layers\.1\.layer_norm1"):
        staged_step(case, staged)


def test_gradients_of_zero_are_allowed(backbone: Backbone) -> None:
    case = Case(backbone, "clipfit", 2, torch.float32)  # one class: no image can be wrong
    optimizer = make_optimizer(case.classifier.tuned, RATES)
    text = case.plain()[0].detach()
    objective = Objective(case.ids, text, 0.0)
    losses = training_step(case.classifier, optimizer, case.pixels, case.labels, objective)
    assert losses.loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(case.classifier).values())
