"""Trials of peers: they learn, repeat, go on where they stopped, and write a delta or none."""

from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone, fingerprint
from study.config.peer_settings import Peer
from study.config.trial_settings import TrialSettings
from study.method import peers as method_peers
from study.method.delta import apply_delta
from study.method.full_tuning import FullClassifier
from study.method.head import VIEWS
from study.method.lora import apply_dropout
from study.method.model import FewShotClassifier
from study.method.peer_model import PlainPass
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import TrialConfig, TrialData, image_activations
from study.trial.config_hash import compute_config_hash
from study.trial.image_activations import begin_images, open_table
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial
from study.trial.task_features import cached_views, paths_of
from study.trial.task_model import make_task_model
from tests.small_trials import EPOCHS, Prepare, digest, outcome, outcomes, trial

FULL = Peer(method="full", lr=0.02, optimizer="sgd")
LORA = Peer(method="lora", lr=0.05)
DROPPING = LORA.model_copy(update={"dropout": 0.3})
PROJECTION = Peer(method="projection", lr=0.02)
PEERS = pytest.mark.parametrize(
    "peer", [FULL, LORA, PROJECTION], ids=["full", "lora", "projection"]
)


def peers_trial(peer: Peer, strength: float = 1.0, head: str = "text", **more: Any) -> TrialConfig:
    settings = TrialSettings(subset="none", peer=peer, strength=strength, head=head)
    training: dict[str, Any] = {"batch_size": 8, "optimizer": peer.optimizer, "warmup_lr": 0.01}
    training["regularizer"] = method_peers.PEERS[peer.method].regularizer or "cosine"
    training["weight_decay"] = peer.weight_decay
    return trial(training=training, **more).model_copy(update={"settings": settings})


def zero_shot(**more: Any) -> TrialConfig:
    return trial(subset="none", epochs=0, bias_lr=None, ln_lr=None, distill_weight=0.0, **more)


@PEERS
@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds"])
def test_a_peer_learns_and_every_epoch_is_reported_with_its_delta_if_it_writes_one(
    prepare: Prepare, backbone: Backbone, setting: str, peer: Peer
) -> None:
    data = prepare(setting).search()
    reports = list(run_trial(peers_trial(peer), data, backbone))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    for report in reports:
        held = [tuple(delta) for delta in report.deltas]
        wanted = method_peers.PEERS[peer.method].delta
        assert held == ([wanted] * len(data.tasks) if wanted else [])
    assert all("val_score" in report.metrics for report in reports)
    assert [reports[0].metrics["peer_lr"], reports[1].metrics["peer_lr"]] == [0.01, peer.lr]
    assert reports[-1].metrics["cross_entropy"] < reports[0].metrics["cross_entropy"]
    last = reports[-1].metrics
    weight = 0.0
    if peer is PROJECTION:
        train = data.tasks[0].train
        weight = len(train.classes) / len(train.records)
        assert last["distillation"] > 0
    expected = last["cross_entropy"] + weight * last["distillation"]
    assert last["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("peer", "setting", "more"),
    [
        (FULL, "holdout", {}),
        (LORA, "augmented", {}),
        (DROPPING, "folds", {}),
        (LORA, "class_folds", {"strength": 0.75, "head": "linear"}),
        (PROJECTION, "folds", {}),
        (PROJECTION, "augmented", {"strength": 0.75, "head": "linear"}),
    ],
    ids=["full", "lora", "dropout", "with a head", "projection", "projection with a head"],
)
def test_a_peer_goes_on_from_any_epoch_to_the_bit(
    prepare: Prepare, backbone: Backbone, peer: Peer, setting: str, more: dict[str, Any]
) -> None:
    data, config = prepare(setting).search(), peers_trial(peer, **more)
    whole = list(run_trial(config, data, backbone))
    assert [outcome(one) for one in whole] == outcomes(run_trial(config, data, backbone))
    for report in whole[:-1]:
        kept = any(".delta." in name for name in report.state)
        assert kept == (peer is PROJECTION and bool(more)), "where it is used otherwise"
        rest = run_trial(config, data, backbone, (report.epoch, report.state))
        assert outcomes(rest) == [outcome(later) for later in whole[report.epoch :]]


@PEERS
def test_at_strength_0_every_prediction_is_zero_shot(
    prepare: Prepare, backbone: Backbone, peer: Peer
) -> None:
    data = prepare("class_folds").confirm(1)
    (expected,) = run_trial(zero_shot(), data, backbone)
    *_, found = run_trial(peers_trial(peer, strength=0.0), data, backbone)
    taken = [(p.path, p.predicted) for p in expected.predictions]
    assert [(p.path, p.predicted) for p in found.predictions] == taken
    for one, other in zip(found.predictions, expected.predictions, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
    *_, whole = run_trial(peers_trial(peer), data, backbone)
    assert [(p.path, p.predicted) for p in whole.predictions] != taken


@PEERS
def test_the_backbone_stays_as_it_was(holdout: TrialData, backbone: Backbone, peer: Peer) -> None:
    before = {name: digest(p.detach()) for name, p in backbone.clip.state_dict().items()}
    list(run_trial(peers_trial(peer), holdout, backbone))
    assert {name: digest(p) for name, p in backbone.clip.state_dict().items()} == before
    assert not any(p.requires_grad for p in backbone.clip.parameters())


def test_pixels_are_kept_apart_from_what_passed_an_encoder(
    holdout: TrialData, backbone: Backbone
) -> None:
    free_memory()
    plain = PlainPass(FullClassifier(backbone))
    staged = StagedClassifier(FewShotClassifier(backbone, parse("vision.ln")))
    table = holdout.train_images
    paths = list(open_table(table).paths)[:5]
    for _ in range(2):
        pixels = begin_images(plain, backbone, table, paths)
        tokens = begin_images(staged, backbone, table, paths)
        assert pixels.shape == (5, 3, 16, 16)
        assert tokens.shape != pixels.shape
    assert len(image_activations.IMAGES.results) == 2
    free_memory()


def test_a_seed_begins_lora_elsewhere(holdout: TrialData, backbone: Backbone) -> None:
    first, second = (
        next(run_trial(peers_trial(LORA, seed=seed), holdout, backbone)) for seed in (1, 2)
    )
    name = next(name for name in first.state if "lora_A" in name and "parameter" in name)
    assert not torch.allclose(first.state[name], second.state[name])


def test_the_hash_covers_the_settings_of_a_peer_and_the_version_of_peft(
    holdout: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_of(peer: Peer) -> str:
        return compute_config_hash(peers_trial(peer), holdout, "weights")

    changed = [
        FULL,
        FULL.model_copy(update={"lr": 0.01}),
        FULL.model_copy(update={"weight_decay": 0.0}),
        LORA,
        DROPPING,
        LORA.model_copy(update={"rank": 8}),
        LORA.model_copy(update={"alpha": 4.0}),
        PROJECTION,
        PROJECTION.model_copy(update={"lr": 0.01}),
        PROJECTION.model_copy(update={"optimizer": "sgd"}),
        PROJECTION.model_copy(update={"distance_weight": 0.5}),
    ]
    hashes = [hash_of(peer) for peer in changed]
    assert len({*hashes}) == len(changed)
    monkeypatch.setattr("study.trial.config_hash.version", lambda library: "0")
    later = [hash_of(peer) == known for peer, known in zip(changed, hashes, strict=True)]
    assert later == [True] * 3 + [False] * 4 + [True] * 4, "the rest is cached"


def test_each_epoch_of_each_task_drops_other_inputs(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def drop(classifier: FewShotClassifier, seed: int) -> AbstractContextManager[None]:
        seeds.append(seed)
        return apply_dropout(classifier, seed)

    monkeypatch.setattr("study.trial.task_training.apply_dropout", drop)
    data = prepare("folds").search()
    for seed in (1, 2**31 - 1):
        list(run_trial(peers_trial(DROPPING, seed=seed), data, backbone))
    assert len({*seeds}) == len(seeds) == 2 * EPOCHS * len(data.tasks)


def test_a_projection_is_trained_on_states_that_pass_the_encoder_once(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    begin = StagedClassifier.begin_images

    def counted(self: StagedClassifier, pixel_values: Tensor) -> Tensor:
        passed.append(len(pixel_values))
        return begin(self, pixel_values)

    monkeypatch.setattr(StagedClassifier, "begin_images", counted)
    for setting, views in (("holdout", 1), ("augmented", VIEWS)):
        data = prepare(setting).search()
        for file in data.train_images.parent.glob("frozen-*"):
            file.unlink()
        free_memory()
        passed.clear()
        list(run_trial(peers_trial(PROJECTION), data, backbone))
        trained = len(data.tasks[0].train.records)
        tables = {open_table(path) for path in (data.train_images, data.eval_images)}
        whole = sum(len(table.paths) for table in tables)
        assert sum(passed) <= whole + (views > 1) * views * trained
        free_memory()
        passed.clear()
        list(run_trial(peers_trial(PROJECTION.model_copy(update={"lr": 0.1})), data, backbone))
        assert not passed, "another process, or another trial, finds them"


def test_the_views_of_a_projection_are_those_of_its_seed(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("augmented").search()
    (task,) = data.tasks
    views = []
    for seed in (1, 1, 2):
        model = make_task_model(peers_trial(PROJECTION, seed=seed), backbone, task, 0)
        assert model.views == VIEWS
        views.append(cached_views(model, data, paths_of(task.train), VIEWS))
    assert views[0].shape == (VIEWS, len(task.train.records), 1, 32)
    assert torch.equal(views[0], views[1])
    assert not torch.allclose(views[0], views[2])
    assert not torch.allclose(views[0][0], views[0][1])
    assert make_task_model(peers_trial(LORA), backbone, task, 0).views is None


def test_a_delta_of_a_projection_makes_a_backbone_the_trained_model(
    holdout: TrialData, backbone: Backbone
) -> None:
    *_, report = run_trial(peers_trial(PROJECTION), holdout, backbone)
    clip = deepcopy(backbone.clip)
    apply_delta(clip, report.deltas[0])
    tuned = replace(backbone, clip=clip, fingerprint=fingerprint(clip))
    (again,) = run_trial(zero_shot(), replace(holdout, split="test"), tuned)
    (plain,) = run_trial(zero_shot(), replace(holdout, split="test"), backbone)
    expected = [p.predicted for p in report.predictions]
    assert [p.predicted for p in again.predictions] == expected
    assert [p.predicted for p in plain.predictions] != expected
