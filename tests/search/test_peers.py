"""Peers on request, each an arm of its own beside the trials of the search."""

import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tiny_study import TinyStudy, kill_worker, optuna_trials, untimed

from study.config.schema import PeerConfig
from study.config.settings import Settings
from study.errors import InterruptedStudyError
from study.search.space import PeerSpace
from study.search.stages import budget
from study.selection.candidates import extend, extended_config
from study.trial import TrialConfig
from study.trial.study import Study

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

PEERS: dict[str, Any] = {
    "lora": {"peer": "lora", "rank": 2, "lr": [1e-3, 0.1], "weight_decay": 0.0},
    "full": {"peer": "full", "lr": [1e-4, 0.05]},
}
SEARCH: dict[str, Any] = {"trials": 8, "peer_trials": 3, "baselines": PEERS}


def configs(study: TinyStudy, stage: str = "search") -> list[TrialConfig]:
    trials = (TrialConfig.model_validate(t.read_config()) for t in study.folder.trials())
    return [config for config in trials if config.stage == stage]


def of(peer: PeerConfig, lr: float) -> Settings:
    return Settings(subset="none", peer=peer.at(lr))


def first_of_each_peer(study: TinyStudy) -> list[str]:
    """Return the trials, in their order."""
    first = {config.arm: config for config in reversed(configs(study)) if config.arm in PEERS}
    return [c.trial_id for c in sorted(first.values(), key=lambda config: config.number)]


def reports(study: TinyStudy) -> dict[str, list[dict[str, Any]]]:
    return {c.trial_id: untimed(study.folder.trial(c.trial_id)) for c in configs(study)}


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
    assert arms == {"baseline": 5, "clipfit-tuned": 2, "search": 2, "lora": 3, "full": 3}
    assert searched.config.search.planned == 8 + 1 + 2 * 3 == sum(arms.values())
    numbers = [config.number for config in configs(searched)]
    assert sorted(numbers) == list(range(15))


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
                update={"optimizer": peer.optimizer, "weight_decay": peer.weight_decay}
            )
            assert config.epochs == 4
    architecture = searched.architecture
    trainable = {config.arm: config.trainable for config in configs(searched)}
    assert (trainable["full"], trainable["lora"]) == (
        architecture.count_all(),
        architecture.count_lora(2),
    )


def test_optuna_learns_the_outcomes_of_a_peer_and_nothing_else(searched: TinyStudy) -> None:
    for label in PEERS:
        trials = optuna_trials(searched.folder, label)
        assert [set(trial.params) for trial in trials] == [{"peer_lr"}] * 3
        for config in (config for config in configs(searched) if config.arm == label):
            told = trials[config.optuna_number or 0]
            assert told.params["peer_lr"] == config.settings.peer.lr  # type: ignore[union-attr]
            last = searched.folder.trial(config.trial_id).read_reports()[-1]
            assert told.value == last["val_score"]


def test_no_trial_of_a_peer_leaves_a_delta_whether_finished_or_stopped(
    confirmed: TinyStudy,
) -> None:
    for config in (*configs(confirmed), *configs(confirmed, "confirm")):
        kept = list(confirmed.folder.trial(config.trial_id).path.glob("delta*"))
        assert bool(kept) == (config.settings.peer is None and config.trainable > 0)


def test_the_best_of_each_peer_is_a_candidate_and_tested(confirmed: TinyStudy) -> None:
    candidates = {c["label"]: c for c in confirmed.folder.read_json("candidates.json")}
    for label in PEERS:
        own = [confirmed.folder.trial(c.trial_id) for c in configs(confirmed) if c.arm == label]
        best = max(
            (trial.read_reports()[-1]["val_score"], -trial.read_config()["number"])
            for trial in own
            if trial.read_end().status == "finished"
        )
        assert candidates[label]["val_score"] == best[0]
        origin = confirmed.folder.trial(candidates[label]["source_trial"]).read_config()
        assert (origin["arm"], origin["number"]) == (label, -best[1])
        same = candidates[label]["same_as"] or label
        for seed in (1, 2):
            report = confirmed.folder.trial(f"confirm-{same}-seed{seed}").read_reports()[-1]
            assert "test_score" in report


def test_a_finished_search_with_peers_is_not_run_again(searched: TinyStudy) -> None:
    before = {trial.trial_id: trial.read_reports() for trial in searched.folder.trials()}
    searched.search()
    assert {trial.trial_id: trial.read_reports() for trial in searched.folder.trials()} == before


@pytest.mark.long
def test_a_killed_worker_continues_a_peer_as_if_nothing_had_happened(
    searched: TinyStudy, make_study: Callable[..., TinyStudy]
) -> None:
    again = make_study("peers-killed", search=SEARCH)
    for trial_id in first_of_each_peer(searched):
        again.heard.at["reported", trial_id, 2] = kill_worker
    again.search()
    assert not again.heard.at, "each was killed"
    assert reports(again) == reports(searched)


@pytest.mark.long
def test_an_interrupted_search_with_peers_goes_on_to_the_same_trials(
    searched: TinyStudy, make_study: Callable[..., TinyStudy]
) -> None:
    again = make_study("peers-interrupted", search=SEARCH)
    for trial_id in first_of_each_peer(searched):
        again.heard.at["reported", trial_id, 2] = lambda: signal.raise_signal(signal.SIGINT)
        with pytest.raises(InterruptedStudyError):
            again.search()
    again.search()
    assert reports(again) == reports(searched)


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
    assert (after["lora"], after["full"]) == (1, 1)


def test_a_peers_space_holds_its_own_settings_alone(searched: TinyStudy) -> None:
    lora, full = (PeerSpace(peer) for peer in searched.config.search.peer_arms.values())
    inside = of(searched.config.search.peer_arms["lora"], 0.01)
    choices = lora.encode(inside)
    assert choices is not None
    assert {name: value for name, (value, _) in choices.items()} == {"peer_lr": 0.01}
    assert full.encode(inside) is None
    assert lora.encode(of(searched.config.search.peer_arms["lora"], 0.5)) is None
    assert lora.encode(Settings(subset="none")) is None
    assert lora.fits({"peer_lr": 0.01})
    assert not lora.fits({"peer_lr": 0.5})
    assert not lora.fits({"peer_lr": 0.01, "bias_lr": 0.01})
