"""Peers on request, each an arm of its own beside the trials of the search."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from study.config.baselines import PeerConfig
from study.config.trial_settings import TrialSettings
from study.method import peers
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.search.space import PeerSpace
from study.search.stages import budget
from study.selection.extension import extend, extended_config
from study.trial import TrialConfig
from study.trial.study import Study
from tests.not_none import not_none
from tests.tiny_study import TinyStudy

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

PEERS: dict[str, Any] = {
    "lora": {"peer": "lora", "rank": 2, "lr": [1e-3, 0.1], "weight_decay": 0.0},
    "full": {"peer": "full", "lr": [1e-4, 0.05]},
    "projection": {"peer": "projection", "lr": [1e-3, 0.1]},
}
SEARCH: dict[str, Any] = {"trials": 8, "peer_trials": 3, "baselines": PEERS}


def configs(study: TinyStudy, stage: str = "search") -> list[TrialConfig]:
    trials = (TrialConfig.model_validate(t.read_config()) for t in study.folder.trials())
    return [config for config in trials if config.stage == stage]


def of(peer: PeerConfig, lr: float) -> TrialSettings:
    return TrialSettings(subset="none", peer=peer.with_rate(lr))


@pytest.fixture(scope="module")
def searched(make_study: Callable[..., TinyStudy], ray_cluster: None) -> TinyStudy:
    study = make_study("peers", search=SEARCH)
    study.search()
    return study


@pytest.fixture(scope="module")
def confirmed(searched: TinyStudy) -> TinyStudy:
    searched.confirm()
    return searched


def test_each_peer_has_its_trials_beside_those_of_the_search(searched: TinyStudy) -> None:
    assert budget(searched.config) == (4, 2, 2)
    arms = Counter(config.arm for config in configs(searched))
    assert arms == {
        "baseline": 5,
        "clipfit-tuned": 2,
        "search": 2,
        **dict.fromkeys(PEERS, 3),
    }
    assert searched.config.search.planned_trials == 8 + 1 + 3 * 3 == sum(arms.values())
    numbers = [config.number for config in configs(searched)]
    assert sorted(numbers) == list(range(18))


def test_a_peer_is_trained_by_its_own_settings_with_text_at_full_strength(
    searched: TinyStudy,
) -> None:
    for label, peer in searched.config.search.peer_arms.items():
        own = [config for config in configs(searched) if config.arm == label]
        assert len({config.settings for config in own}) == 3
        assert len({config.config_hash for config in own}) == 3
        for config in own:
            assert config.settings.peer is not None
            assert config.settings == of(peer, config.settings.peer.lr)
            assert peer.lr[0] <= config.settings.peer.lr <= peer.lr[1]
            assert config.training == searched.config.training.model_copy(
                update={
                    "optimizer": peer.optimizer,
                    "weight_decay": peer.weight_decay,
                    "regularizer": "l2_init" if label == "projection" else "cosine",
                }
            )
            assert config.epochs == 4
    architecture = searched.architecture
    lora = peers.PEERS["lora"]
    trainable = {config.arm: config.trainable for config in configs(searched)}
    assert (trainable["full"], trainable["lora"]) == (
        architecture.count_all(),
        lora.count(architecture, {"rank": 2}),
    )


def test_the_best_of_each_peer_is_a_candidate_and_tested(confirmed: TinyStudy) -> None:
    candidates = {c["label"]: c for c in confirmed.folder.read_json("candidates.json")}
    for label in PEERS:
        own = [confirmed.folder.trial(c.trial_id) for c in configs(confirmed) if c.arm == label]
        best = max(
            (trial.read_reports()[-1]["val_score"], -trial.read_config()["number"])
            for trial in own
            if not_none(trial.read_end()).status == "finished"
        )
        assert candidates[label]["val_score"] == best[0]
        origin = confirmed.folder.trial(candidates[label]["source_trial"]).read_config()
        assert (origin["arm"], origin["number"]) == (label, -best[1])
        same = candidates[label]["same_as"] or label
        for seed in (1, 2):
            report = confirmed.folder.trial(f"confirm-{same}-seed{seed}").read_reports()[-1]
            assert "test_score" in report


def test_every_peer_is_in_the_leaderboard_and_one_of_them_has_a_delta(
    confirmed: TinyStudy,
) -> None:
    board = leaderboard(read_results(confirmed.folder.path))
    names = {entry.labels[0]: entry for entry in board.entries}
    assert names.keys() >= PEERS.keys()
    assert all(names[label].is_peer for label in PEERS)
    for label in PEERS:
        folder = confirmed.folder.trial(f"confirm-{label}-seed1").path
        assert (folder / "delta.safetensors").is_file() == (label == "projection")


@pytest.mark.long
def test_an_extension_leaves_the_peers_as_they_are(
    make_study: Callable[..., TinyStudy],
) -> None:
    study = make_study("peers-extended", search={**SEARCH, "peer_trials": 1})
    study.search()
    before = Counter(config.arm for config in configs(study))
    short = Study(study.config, study.folder)
    study.config = extended_config(short, ["search.trials=+2"])
    extend(short, study.config)
    study.search()
    after = Counter(config.arm for config in configs(study))
    assert sum((after - before).values()) == 2
    assert (after["lora"], after["full"], after["projection"]) == (1, 1, 1)


def test_a_peers_space_holds_its_own_settings_alone(searched: TinyStudy) -> None:
    arms = searched.config.search.peer_arms
    lora, full, projection = (PeerSpace(peer) for peer in arms.values())
    inside = of(searched.config.search.peer_arms["lora"], 0.01)
    choices = lora.encode(inside)
    assert choices is not None
    assert {name: value for name, (value, _) in choices.items()} == {"peer_lr": 0.01}
    assert full.encode(inside) is None
    assert projection.encode(inside) is None
    assert lora.encode(of(searched.config.search.peer_arms["lora"], 0.5)) is None
    assert lora.encode(TrialSettings(subset="none")) is None
    assert lora.fits({"peer_lr": 0.01})
    assert not lora.fits({"peer_lr": 0.5})
    assert not lora.fits({"peer_lr": 0.01, "bias_lr": 0.01})
