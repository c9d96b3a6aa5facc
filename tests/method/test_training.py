"""The training step and its schedule, objective and recipe."""

import math
from dataclasses import replace
from typing import Any, get_args
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.config.schema import StudyConfig, TrainingConfig
from study.errors import SubsetError
from study.method import parameters
from study.method.plain_pass import ForwardPass, PlainPass
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
from study.method.training_options import Regularizer
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


def train(
    case: Case,
    rates: dict[str, float] = RATES,
    recipe: Recipe = REFERENCE,
    *,
    forward: type[ForwardPass] = PlainPass,
    micro_batch: int | None = None,
) -> Losses:
    """Train for one epoch."""
    model = forward(case.classifier)
    optimizer = make_optimizer(model.tuned, rates, recipe)
    Schedule(6).set_rates(optimizer, 3)
    images = model.begin_images(case.pixels).split(SIZE)
    batches = zip(images, case.labels.split(SIZE), strict=True)
    minimised = objective(case, model.begin_prompts(case.ids), recipe)
    return train_epoch(model, optimizer, batches, minimised, epoch=3, micro_batch=micro_batch)


def test_an_epoch_steps_at_the_schedules_rates_and_averages_losses(backbone: Backbone):
    assert [Schedule(6).learning_rate(rate, 0) for rate in (1e-6, 0.002)] == [1e-6, 1e-5]
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
    passes = (PlainPass, None), (PlainPass, 2), (StagedClassifier, None), (StagedClassifier, 2)
    for forward, micro_batch in passes:
        case = Case(backbone, "clipfit", number, torch.float64)
        recipe = Recipe(regularizer=regularizer)
        losses = train(case, recipe=recipe, forward=forward, micro_batch=micro_batch)
        ends.append((torch.stack(losses), case.tuned()))
    expected, whole = ends[0]
    for found, tuned in ends[1:]:
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-10)
        for one, other in zip(tuned, whole, strict=True):
            assert distance(one, other) < 1e-10


def test_l2_init_pulls_towards_the_initial_values_by_twice_lambda(case: Case):
    def step(regularizer: Regularizer) -> tuple[Losses, list[Tensor]]:
        """Take a step that leaves the parameters where they are."""
        recipe = Recipe(regularizer=regularizer)
        optimizer = make_optimizer(case.classifier.tuned, {"bias": 0.0, "ln": 0.0}, recipe)
        minimised = objective(case, case.ids, recipe)
        losses = training_step(case.classifier, optimizer, case.pixels, case.labels, minimised)
        return losses, [not_none(one.parameter.grad).clone() for one in case.classifier.tuned]

    _, without = step("none")
    losses, gradients = step("l2_init")
    torch.testing.assert_close(losses.loss, losses.cross_entropy + 2 * losses.distillation)
    for tuned, gradient, other in zip(case.classifier.tuned, gradients, without, strict=True):
        pull = 2 * 2 * (tuned.parameter - tuned.initial)
        torch.testing.assert_close(gradient - other, pull.detach())


def test_a_loss_or_parameter_that_is_not_finite_names_its_epoch(backbone: Backbone, case: Case):
    case.pixels[-1] = math.nan
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 3, step 1"):
        train(case, micro_batch=2)
    one_batch = Case(backbone, "clipfit", 0, torch.float32)  # so its loss shows no earlier step
    with pytest.raises(NonFiniteLossError, match="not finite after epoch 3"):
        train(one_batch, {"bias": 1e38, "ln": 1e38}, Recipe(weight_decay=1e3))


def test_images_pass_in_micro_batches_and_the_text_once_a_step(
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


def test_a_site_of_a_stage_too_late_is_refused_before_anything_has_moved(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    late = [replace(row, stage="mlp") if row.name == "ln1" else row for row in parameters.SITES]
    monkeypatch.setattr(parameters, "SITES", tuple(late))
    case = Case(backbone, "text.mlp.fc2.bias + vision.ln1[1:]", 0, torch.float32)
    before = case.tuned()
    with pytest.raises(SubsetError, match=r"such as vision_model\.encoder\.layers\.1\.layer_norm1"):
        train(case, forward=StagedClassifier)
    assert all(map(torch.equal, case.tuned(), before))


def test_a_configuration_and_the_functions_have_the_published_defaults():
    assert Recipe("sgd", 0.9, 5e-4, "cosine", "none") == REFERENCE
    training = TrainingConfig()
    assert read_recipe(vars(training) | {"balance": "none"}) == REFERENCE  # "auto" may be it
    clipfit = StudyConfig().search.fixed_baselines["clipfit"]
    assert (set(clipfit.rates.values()), clipfit.distill_weight) == ({0.002}, 8)
