"""ProLIP trains the projection of the image encoder alone, by the loss that its paper has."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone, fingerprint
from study.errors import SubsetError
from study.method.model import FewShotClassifier
from study.method.parameters import PEER, PROJECTION
from study.method.peer_model import PeerModel
from study.method.peers import PEERS, PeerStart
from study.method.projection import ProjectionClassifier
from study.method.recipe import Optimizer
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Losses, Objective, Recipe, make_optimizer, training_step

LAMBDA, LR, STEPS = 0.5, 0.003, 6


def built(backbone: Backbone, shots: float = 2.0, weight: float | None = None) -> PeerModel:
    start = PeerStart(
        backbone=backbone,
        numbers={"distance_weight": weight},
        seed=1,
        precision="float32",
        shots=shots,
    )
    return PEERS["projection"].build(start)


def train(
    model: PeerModel,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    *,
    steps: int = STEPS,
    lr: float = LR,
    optimizer: Optimizer = "adamw",
) -> list[Losses]:
    staged = model.staged
    recipe = Recipe(optimizer, momentum=0.0, weight_decay=0.0, regularizer="l2_init")
    update = make_optimizer(staged.tuned, {PEER: lr}, recipe)
    begun = staged.begin_images(images)
    prompts: Any = staged.begin_prompts(ids)
    text = staged.encode_text(prompts).detach()
    objective = Objective(prompts, text, model.distill_weight, recipe)
    return [training_step(staged, update, begun, labels, objective) for _ in range(steps)]


def test_it_tunes_dim_times_width_numbers_and_shares_the_rest(backbone: Backbone) -> None:
    classifier = ProjectionClassifier(backbone)
    (tuned,) = classifier.tuned
    assert (tuned.name, tuned.kind) == (PROJECTION, PEER)
    assert tuned.parameter.shape == (24, 32)
    own = {id(p) for p in backbone.clip.parameters()}
    assert [n for n, p in classifier.clip.named_parameters() if id(p) not in own] == [PROJECTION]


def test_only_the_projection_runs_in_a_step_and_gives_the_features_of_the_plain_pass(
    backbone: Backbone, pixel_values: Tensor, input_ids: Tensor
) -> None:
    classifier = ProjectionClassifier(backbone)
    with torch.no_grad():
        classifier.tuned[0].parameter.add_(0.1)
        staged = StagedClassifier(classifier)
        begun = staged.begin_images(pixel_values)
        assert begun.shape == (6, 1, 32)
        assert staged.vision.first == staged.vision.projection == staged.vision.last - 1
        torch.testing.assert_close(
            staged.encode_image(begun), classifier.encode_image(pixel_values), atol=1e-5, rtol=0
        )
        plain = FewShotClassifier(backbone, parse("none"))
        assert torch.equal(classifier.encode_text(input_ids), plain.encode_text(input_ids))


def test_the_loss_is_the_cross_entropy_and_the_squared_distance(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    model = built(backbone, weight=LAMBDA)
    with torch.no_grad():
        model.classifier.tuned[0].parameter.add_(0.01)
        logits = model.classifier.logits(
            model.classifier.encode_image(pixel_values), model.classifier.encode_text(input_ids)
        )
    picked = logits.log_softmax(dim=-1)[torch.arange(6), labels]
    distance = 24 * 32 * 0.01**2
    (losses,) = train(model, pixel_values, labels, input_ids, steps=1)
    assert losses.cross_entropy.item() == pytest.approx(-picked.mean().item(), abs=1e-4)
    assert losses.distillation.item() == pytest.approx(distance, rel=1e-4)
    assert losses.loss.item() == pytest.approx(-picked.mean().item() + LAMBDA * distance, abs=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_is_trained_as_by_a_plain_loop_over_features(
    backbone: Backbone,
    pixel_values: Tensor,
    labels: Tensor,
    input_ids: Tensor,
    optimizer: Optimizer,
) -> None:
    model = built(backbone, weight=LAMBDA)
    train(model, pixel_values, labels, input_ids, optimizer=optimizer)
    clip = copy.deepcopy(backbone.clip)
    with torch.no_grad():
        states = clip.vision_model(pixel_values=pixel_values).pooler_output
        text = F.normalize(clip.get_text_features(input_ids=input_ids).pooler_output, dim=-1)
    initial = clip.visual_projection.weight.detach()
    weight = initial.clone().requires_grad_()
    update = (
        torch.optim.AdamW([weight], lr=LR, weight_decay=0.0)
        if optimizer == "adamw"
        else torch.optim.SGD([weight], lr=LR)
    )
    for _ in range(STEPS):
        update.zero_grad()
        features = F.normalize(states @ weight.T, dim=-1)
        loss = F.cross_entropy(clip.logit_scale.exp() * features @ text.T, labels)
        (loss + LAMBDA * (weight - initial).square().sum()).backward()
        update.step()
    trained = model.classifier.tuned[0].parameter
    assert not torch.allclose(trained, initial, atol=1e-3)
    torch.testing.assert_close(trained, weight, atol=1e-5, rtol=0)
    assert fingerprint(backbone.clip) == backbone.fingerprint


def test_the_heavier_the_distance_the_nearer_the_initial_values_stay(
    backbone: Backbone, pixel_values: Tensor, labels: Tensor, input_ids: Tensor
) -> None:
    moved = []
    for weight in (1.0, 1e3, 1e5):
        model = built(backbone, weight=weight)
        # A step of SGD on the distance alone takes a fifth of it away, whatever its weight.
        train(model, pixel_values, labels, input_ids, steps=40, lr=0.1 / weight, optimizer="sgd")
        (tuned,) = model.classifier.tuned
        moved.append((tuned.parameter - tuned.initial).norm().item())
    assert moved[0] > 0.1
    assert moved[1] < 0.01
    assert moved[2] == pytest.approx(moved[1] / 100, rel=0.1)


def test_the_weight_is_one_in_the_training_images_of_a_class(backbone: Backbone) -> None:
    assert built(backbone, shots=16).distill_weight == 1 / 16
    assert built(backbone, shots=12.5).distill_weight == 1 / 12.5
    assert built(backbone, weight=0.0).distill_weight == 0.0
    assert built(backbone, weight=3.0).distill_weight == 3.0


def test_a_siglip_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    from study.backbones.load_backbone import load_backbone
    from tests.siglips import save_siglip

    folder = tmp_path_factory.mktemp("siglip") / "small"
    save_siglip(folder)
    with pytest.raises(SubsetError, match=rf"small' has no {PROJECTION}.*allowed is a CLIP"):
        ProjectionClassifier(load_backbone(folder))
