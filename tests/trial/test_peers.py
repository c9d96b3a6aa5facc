"""Trials of peers: they learn, repeat, go on where they stopped, and leave no delta."""

from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from small_trials import EPOCHS, Prepare, digest, outcome, outcomes, trial

from study.backbones.backbone import Backbone
from study.config.trial_settings import Peer, TrialSettings
from study.method.model import FewShotClassifier
from study.method.peers import FullClassifier, PlainPass, dropping_out
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.trial import TrialConfig, TrialData, activations
from study.trial.activations import begin_images, open_table
from study.trial.config_hash import compute_config_hash
from study.trial.machine_faults import free_memory
from study.trial.run_trial import run_trial

FULL = Peer(method="full", lr=0.02, optimizer="sgd")
LORA = Peer(method="lora", lr=0.05)
DROPPING = LORA.model_copy(update={"dropout": 0.3})
PEERS = pytest.mark.parametrize("peer", [FULL, LORA], ids=["full", "lora"])


def peers_trial(peer: Peer, strength: float = 1.0, head: str = "text", **more: Any) -> TrialConfig:
    settings = TrialSettings(subset="none", peer=peer, strength=strength, head=head)
    training = {"batch_size": 8, "optimizer": peer.optimizer, "warmup_lr": 0.01}
    return trial(training=training, **more).model_copy(update={"settings": settings})


def zero_shot(**more: Any) -> TrialConfig:
    return trial(subset="none", epochs=0, bias_lr=None, ln_lr=None, distill_weight=0.0, **more)


@PEERS
@pytest.mark.parametrize("setting", ["holdout", "augmented", "class_folds"])
def test_a_peer_learns_and_every_epoch_is_reported_without_a_delta(
    prepare: Prepare, backbone: Backbone, setting: str, peer: Peer
) -> None:
    data = prepare(setting).search()
    reports = list(run_trial(peers_trial(peer), data, backbone))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert all(report.deltas == () for report in reports)
    assert all("val_score" in report.metrics for report in reports)
    assert [reports[0].metrics["peer_lr"], reports[1].metrics["peer_lr"]] == [0.01, peer.lr]
    assert reports[-1].metrics["cross_entropy"] < reports[0].metrics["cross_entropy"]
    assert reports[-1].metrics["train_loss"] == reports[-1].metrics["cross_entropy"]


@pytest.mark.parametrize(
    ("peer", "setting", "more"),
    [
        (FULL, "holdout", {}),
        (LORA, "augmented", {}),
        (DROPPING, "folds", {}),
        (LORA, "class_folds", {"strength": 0.75, "head": "linear"}),
    ],
    ids=["full", "lora", "dropout", "with a head"],
)
def test_a_peer_goes_on_from_any_epoch_to_the_bit(
    prepare: Prepare, backbone: Backbone, peer: Peer, setting: str, more: dict[str, Any]
) -> None:
    data, config = prepare(setting).search(), peers_trial(peer, **more)
    whole = list(run_trial(config, data, backbone))
    assert [outcome(one) for one in whole] == outcomes(run_trial(config, data, backbone))
    for report in whole[:-1]:
        assert not any(".delta." in name for name in report.state)
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
    assert len(activations.IMAGES.kept) == 2
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
    ]
    hashes = [hash_of(peer) for peer in changed]
    assert len({*hashes}) == len(changed)
    monkeypatch.setattr("study.trial.config_hash.version", lambda library: "0")
    later = [hash_of(peer) == known for peer, known in zip(changed, hashes, strict=True)]
    assert later == [True, True, True, False, False, False, False], "the rest is cached"


def test_each_epoch_of_each_task_drops_other_inputs(
    prepare: Prepare, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def drop(classifier: FewShotClassifier, seed: int) -> AbstractContextManager[None]:
        seeds.append(seed)
        return dropping_out(classifier, seed)

    monkeypatch.setattr("study.trial.task_training.dropping_out", drop)
    data = prepare("folds").search()
    for seed in (1, 2**31 - 1):
        list(run_trial(peers_trial(DROPPING, seed=seed), data, backbone))
    assert len({*seeds}) == len(seeds) == 2 * EPOCHS * len(data.tasks)
