"""The training step and its schedule, objective and recipe."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from study.backbones.backbone import Backbone
from study.config.schema import StudyConfig, TrainingConfig
from study.errors import SubsetError
from study.method import parameters
from study.method.model import TunedParameter
from study.method.staged import StagedClassifier
from study.method.training import (
    REFERENCE,
    Losses,
    NonFiniteLossError,
    Objective,
    Recipe,
    Schedule,
    make_optimizer,
    read_recipe,
    train_epoch,
    training_step,
)
from study.method.training_options import (
    DISTILL_WEIGHT,
    LEARNING_RATE,
    MOMENTUM,
    WARMUP_LR,
    WEIGHT_DECAY,
    Regularizer,
)
from tests.not_none import not_none
from tests.staged_case import Case, distance

RATES = {"bias": 0.02, "ln": 0.004}
SIZE = 3
"""The images of a batch, of which a case has one or two."""


@pytest.fixture
def case(backbone: Backbone) -> Case:
    return Case(backbone, "clipfit", 1, torch.float64)


def objective(case: Case, prompts: Any, recipe: Recipe = REFERENCE) -> Objective:
    """An objective with texts to stay near that are not those of the model."""
    other_text = torch.roll(case.plain()[0].detach(), 1, -1)
    return Objective(prompts, other_text, 2.0, recipe)


def step(case: Case, recipe: Recipe = REFERENCE, micro_batch: int | None = None) -> Losses:
    """Take a step on all images that leaves the parameters where they are."""
    optimizer = make_optimizer(case.classifier.tuned, {"bias": 0.0, "ln": 0.0}, recipe)
    minimised = objective(case, case.ids, recipe)
    return training_step(
        case.classifier, optimizer, case.pixels, case.labels, minimised, micro_batch=micro_batch
    )


def train(
    case: Case,
    rates: dict[str, float] = RATES,
    recipe: Recipe = REFERENCE,
    *,
    is_staged: bool = False,
    micro_batch: int | None = None,
) -> Losses:
    """Train for one epoch."""
    classifier: Any = case.classifier
    images, prompts = case.pixels, case.ids
    if is_staged:
        classifier = StagedClassifier(case.classifier)
        images, prompts = classifier.begin_images(images), classifier.begin_prompts(prompts)
    optimizer = make_optimizer(classifier.tuned, rates, recipe)
    Schedule(6).set_rates(optimizer, 3)
    batches = zip(images.split(SIZE), case.labels.split(SIZE), strict=True)
    minimised = objective(case, prompts, recipe)
    return train_epoch(classifier, optimizer, batches, minimised, epoch=3, micro_batch=micro_batch)


def gradients(case: Case) -> Sequence[Tensor]:
    return [not_none(tuned.parameter.grad).clone() for tuned in case.classifier.tuned]


def test_the_objective_is_cross_entropy_plus_the_weighted_cosine_distance():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    zero_shot = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    losses = Objective(None, zero_shot, 5.0).losses(logits, torch.tensor([0, 1]), text)
    cross_entropy = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    expected = (cross_entropy + 5 * 0.2, cross_entropy, 0.2)
    assert torch.tensor(losses).tolist() == pytest.approx(expected, abs=1e-6)


def test_warming_up_never_exceeds_the_base_rate():
    assert Schedule(6).learning_rate(1e-6, 0) == 1e-6
    assert Schedule(6).learning_rate(0.002, 0) == 1e-5


def test_adamw_has_the_rate_of_each_kind_and_the_decay_of_the_recipe(case: Case):
    optimizer = make_optimizer(case.classifier.tuned, RATES, Recipe("adamw", weight_decay=0.1))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["kind"]: group["lr"] for group in optimizer.param_groups} == RATES
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


def test_a_kind_that_is_tuned_needs_a_rate_and_one_that_is_not_needs_none(
    backbone: Backbone,
):
    norms = Case(backbone, "vision.ln", 0, torch.float32).classifier.tuned
    with pytest.raises(ValueError, match=r"ln parameters are tuned, but have no learning rate"):
        make_optimizer(norms, {"bias": 0.1})
    assert len(make_optimizer(norms, {"ln": 0.1}).param_groups) == 1
    with pytest.raises(ValueError, match="needs tuned parameters"):
        make_optimizer([], RATES)


def test_an_epoch_steps_at_the_schedules_rates_and_averages_their_losses(
    backbone: Backbone,
):
    whole, by_hand = (Case(backbone, "clipfit", 1, torch.float64) for _ in range(2))
    mean = train(whole)
    rates = {kind: Schedule(6).learning_rate(rate, 3) for kind, rate in RATES.items()}
    optimizer = make_optimizer(by_hand.classifier.tuned, rates)
    minimised = objective(by_hand, by_hand.ids)
    steps = []
    for images, labels in zip(by_hand.pixels.split(SIZE), by_hand.labels.split(SIZE), strict=True):
        losses = training_step(by_hand.classifier, optimizer, images, labels, minimised)
        steps.append(torch.stack(losses))
    torch.testing.assert_close(torch.stack(mean), torch.stack(steps).mean(dim=0))
    assert all(map(torch.equal, whole.tuned(), by_hand.tuned()))


@pytest.mark.parametrize("regularizer", get_args(Regularizer))
@pytest.mark.parametrize("number", range(3))
def test_an_epoch_is_the_same_of_whole_batches_in_parts_and_staged(
    backbone: Backbone, number: int, regularizer: Regularizer
):
    """The last number is of one class, so that without a regularizer all gradients are zero."""
    ends = []
    for is_staged, micro_batch in ((False, None), (False, 2), (True, None), (True, 2)):
        case = Case(backbone, "clipfit", number, torch.float64)
        recipe = Recipe(regularizer=regularizer)
        losses = train(case, recipe=recipe, is_staged=is_staged, micro_batch=micro_batch)
        ends.append((torch.stack(losses), case.tuned()))
    expected, whole = ends[0]
    for found, tuned in ends[1:]:
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-10)
        for one, other in zip(tuned, whole, strict=True):
            assert distance(one, other) < 1e-10


def test_a_loss_that_is_not_finite_names_epoch_and_step_and_updates_nothing(case: Case):
    case.pixels[-1] = math.nan
    before = case.tuned()
    with pytest.raises(NonFiniteLossError, match="the loss is nan"):
        step(case, micro_batch=2)
    assert all(map(torch.equal, case.tuned(), before))
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 3, step 1"):
        train(case)


def test_a_last_step_that_makes_parameters_infinite_does_not_go_unseen(backbone: Backbone):
    case = Case(backbone, "clipfit", 0, torch.float32)  # of one batch
    with pytest.raises(NonFiniteLossError, match="not finite after epoch 3"):
        train(case, {"bias": 1e38, "ln": 1e38}, Recipe(weight_decay=1e3))


def test_an_epoch_without_batches_is_an_error(case: Case):
    optimizer = make_optimizer(case.classifier.tuned, RATES)
    with pytest.raises(ValueError, match="epoch 3 has no batches"):
        train_epoch(case.classifier, optimizer, [], objective(case, case.ids), epoch=3)


def test_l2_init_pulls_towards_the_initial_values_by_twice_lambda(case: Case):
    step(case, Recipe(regularizer="none"))
    without = gradients(case)
    losses = step(case, Recipe(regularizer="l2_init"))
    torch.testing.assert_close(losses.loss, losses.cross_entropy + 2 * losses.distillation)
    for tuned, gradient, other in zip(case.classifier.tuned, gradients(case), without, strict=True):
        pull = 2 * 2 * (tuned.parameter - tuned.initial)
        torch.testing.assert_close(gradient - other, pull.detach())


def test_an_unknown_regulariser_or_an_l2_distance_of_nothing_is_an_error():
    some = torch.zeros(2, 2)
    unknown = Objective(None, some, 1.0, Recipe(regularizer="l2"))  # type: ignore[arg-type]
    distance = Objective(None, some, 1.0, Recipe(regularizer="l2_init"))
    with pytest.raises(ValueError, match=r"'l2'.*cosine.*l2_init.*none"):
        unknown.losses(some, torch.tensor([0, 1]), some)
    with pytest.raises(ValueError, match="needs tuned parameters"):
        distance.losses(some, torch.tensor([0, 1]), some)


def test_a_micro_batch_of_images_passes_at_once_and_the_text_once_a_step(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    classifier = case.classifier
    encode_image = Mock(wraps=classifier.encode_image)
    encode_text = Mock(wraps=classifier.encode_text)
    monkeypatch.setattr(classifier, "encode_image", encode_image)
    monkeypatch.setattr(classifier, "encode_text", encode_text)
    train(case, micro_batch=2)
    _, *passed = [len(call.args[0]) for call in encode_image.call_args_list]
    assert passed == [2, 1, 1]
    assert encode_text.call_count == 1 + 2, "the first is for the texts to stay near"


def test_a_tuned_tensor_without_a_gradient_is_refused_by_name_and_nothing_is_updated(
    case: Case,
):
    idle = nn.Parameter(torch.zeros(3))
    case.classifier.tuned.append(TunedParameter("vision_model.idle.bias", "bias", idle))
    before = case.tuned()
    with pytest.raises(SubsetError, match=r"1 tuned tensors got no .* vision_model\.idle\.bias"):
        train(case)
    assert all(map(torch.equal, case.tuned(), before))


def test_a_site_that_is_filed_under_a_stage_too_late_is_refused_in_the_first_step(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    late = [replace(row, stage="mlp") if row.name == "ln1" else row for row in parameters.SITES]
    monkeypatch.setattr(parameters, "SITES", tuple(late))
    case = Case(backbone, "vision.ln1[1:]", 0, torch.float32)
    with pytest.raises(SubsetError, match=r"first vision_model\.encoder\.layers\.1\.layer_norm1"):
        train(case, is_staged=True)


def test_the_values_are_as_published():
    assert (LEARNING_RATE, DISTILL_WEIGHT) == (0.002, 8)
    assert (MOMENTUM, WEIGHT_DECAY, WARMUP_LR) == (0.9, 5e-4, 1e-5)


def test_a_configuration_and_the_functions_have_the_same_defaults():
    training = TrainingConfig()
    assert read_recipe(vars(training) | {"balance": "none"}) == REFERENCE  # "auto" may be it
    clipfit = StudyConfig().search.fixed_baselines["clipfit"]
    assert (set(clipfit.rates.values()), clipfit.distill_weight) == ({0.002}, 8)
