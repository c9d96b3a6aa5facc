"""The stages of a study: each trains what is left of it, and goes on from what the ledger holds."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.config.loading import build_config
from study.config.search_section import AshaConfig
from study.config.trial_settings import TrialSettings
from study.errors import DataError, InterruptedStudyError, StudyError
from study.search import deadline, stages
from study.search.queues import run_queue
from study.search.searcher import Proposal
from study.search.stages import (
    JOURNAL,
    budget,
    make_trial,
    most_trials,
    open_arms,
    run_search,
    seconds_left,
)
from study.selection.candidates import fix_candidates
from study.storage.repair import repair
from study.storage.study_folder import StudyFolder
from study.trial import TrialConfig, TrialData
from study.trial.study import Study
from tests import small_trials
from tests.damage import flip
from tests.not_none import not_none
from tests.settings import settings, study_of
from tests.tiny_study import TinyStudy, optuna_trials, statuses, untimed

from .conftest import HALVED

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

NOTHING = {"subset": "none"}
CLIPFIT = {"subset": "clipfit", "rates": {"bias": 0.01, "ln": 0.01}}


def test_a_search_runs_its_trials_and_each_arm_its_share(searched: Any) -> None:
    configs = [trial.read_config() for trial in searched.folder.trials()]
    arms = Counter(config["arm"] for config in configs)
    assert arms == {"baseline": 5, "clipfit-tuned": 4, "search": 6}
    assert [c["label"] for c in configs[:5]] == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert [c["number"] for c in configs] == list(range(15))
    in_turn = [c["arm"] for c in configs[5:9]]
    assert set(in_turn) == {"clipfit-tuned", "search"}, "the arms must not wait for each other"


@pytest.fixture
def with_peers(tmp_path: Path) -> Study:
    """A study that has not begun, with a peer that has a search of its own, and a limited time."""
    search = {"trials": 12, "peer_trials": 5, "minutes": 2, "baselines": {"full": {"peer": "full"}}}
    config = build_config({"name": "mine", "search": search, "confirm": {"strength": 0.5}}, "test")
    folder = StudyFolder(tmp_path / "mine")
    (folder.path / "trials").mkdir(parents=True)
    return study_of(config, folder)


def add_trial(study: Study, number: int, arm: str, label: str, *ended_at: float) -> None:
    """Write a trial of the search whose epochs of ten seconds ended at some times."""
    trial = study.folder.trial(f"search-{number:04d}")
    trial.create({"stage": "search", "arm": arm, "label": label, "number": number})
    for epoch, end in enumerate(ended_at, start=1):
        trial.append_report({"epoch": epoch, "seconds": 10.0, "ended_at": end})


def test_the_most_trials_are_those_with_all_peers_and_variants(with_peers: Study) -> None:
    # A linear classifier, five trials of full fine-tuning; and each head of full fine-tuning, of
    # CLIPFit, of all biases, of all LayerNorms and of tuned CLIPFit.
    most = 12 + 1 + 5 + 2 * 5
    assert most_trials(with_peers) == most
    add_trial(with_peers, 30, "variant", "clipfit-linear")
    add_trial(with_peers, 31, "variant", "clipfit-tuned-linear")
    assert most_trials(with_peers) == most, "they are some of those"
    extended = {"from": 8, "to": 12, "candidates": None}
    with_peers.folder.write_json("extensions.json", [extended])
    assert most_trials(with_peers) == most + 2, "what they are variants of may have changed"


def test_a_search_has_the_time_left_that_its_own_trials_have_not_spent(with_peers: Study) -> None:
    assert seconds_left(with_peers) == 120
    add_trial(with_peers, 0, "search", "trial 0", 1000.0, 1010.0)
    add_trial(with_peers, 1, "variant", "clipfit-linear", 1020.0)
    assert seconds_left(with_peers) == 100
    add_trial(with_peers, 2, "search", "trial 2", *range(2000, 2300, 10))
    assert seconds_left(with_peers) == 0


@pytest.mark.parametrize("limited", [True, False])
def test_before_the_variants_it_is_told_how_many_there_are(
    with_peers: Study, few_digits: TrialData, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    add_trial(with_peers, 0, "search", "trial 0")
    further = {"clipfit-linear": settings("clipfit", 0.1, 0.1)}
    monkeypatch.setattr(stages, "variants", lambda *_: further)
    monkeypatch.setattr(stages, "rank_finished_trials", lambda _: [])
    monkeypatch.setattr(stages, "run_queue", lambda *_, **__: None)
    monkeypatch.setattr(stages, "compute_config_hash", lambda *_: "0" * 16)
    search = with_peers.config.search.model_copy(update={} if limited else {"minutes": None})
    config = with_peers.config.model_copy(update={"search": search})
    study = study_of(config, with_peers.folder)
    heard: list[tuple[Sequence[str], int]] = []
    stages._run_variants(study, few_digits, [], lambda *told: heard.append(told))
    ((sentence,), total) = heard[0]
    assert total == 2
    assert "clipfit-linear" in sentence
    assert ("search.minutes=2" in sentence) == limited


def test_a_whole_search_comes_to_no_more_trials_than_was_said(searched: Any) -> None:
    study = Study(searched.config, searched.folder)
    assert len(list(searched.folder.trials())) <= most_trials(study)


def test_optuna_knows_every_outcome_under_the_name_that_the_report_has(searched: Any) -> None:
    for arm in ("search", "clipfit-tuned"):
        trials = optuna_trials(searched.folder, arm)
        for folder in searched.folder.trials():
            config, end, reports = folder.read_config(), folder.read_end(), folder.read_reports()
            if config["arm"] != arm:
                continue
            told = trials[config["optuna_number"]]
            finished = end.status == "finished"
            assert told.state is (TrialState.COMPLETE if finished else TrialState.PRUNED)
            assert told.value == reports[-1]["val_score"]
            assert told.user_attrs == {"trial": folder.trial_id}
            expected = {r["epoch"]: r["val_score"] for r in reports}
            assert {**told.intermediate_values, end.epochs: told.value} == expected
            assert finished or told.intermediate_values == expected
    assert "clipfit" in [
        t.user_attrs.get("label") for t in optuna_trials(searched.folder, "search")
    ]


def test_no_training_is_done_twice(searched: Any) -> None:
    trainings = [
        (c.subset_key, c.settings.model_copy(update={"subset": "none"}))
        for c in (TrialConfig.model_validate(t.read_config()) for t in searched.folder.trials())
    ]
    assert len(set(trainings)) == len(trainings)


def test_a_finished_search_is_not_run_again(searched: Any) -> None:
    before = _contents(searched.folder)
    searched.search()
    assert _contents(searched.folder) == before


def test_a_search_that_began_needs_neither_its_journal_nor_what_it_started_from(
    searched: Any, tmp_path: Path
) -> None:
    search = searched.config.search.model_copy(update={"warm_start": "deleted"})
    config = searched.config.model_copy(update={"search": search})
    with pytest.raises(StudyError, match="deleted"):
        open_arms(Study(config, StudyFolder(tmp_path)), [], None)
    folder = StudyFolder(shutil.copytree(searched.folder.path, tmp_path / "heir"))
    (folder.path / JOURNAL).unlink()
    before = _contents(folder)
    run_search(Study(config, folder), searched.data, [])
    assert _contents(folder) == before


def test_a_trial_that_only_lacked_its_closing_is_closed_and_observers_hear_of_it(
    searched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = searched.folder.trial("search-0001")
    end = trial.read_end()
    (trial.path / "end.json").unlink()
    monkeypatch.setattr(searched.heard, "events", [])
    searched.search()
    assert searched.heard.events == [("ended", "search-0001", "finished")]
    assert trial.read_end() == end


def test_confirmations_alone_know_test_and_after_their_last_epoch(confirmed: Any) -> None:
    candidates = confirmed.folder.read_json("candidates.json")
    trained = [c["label"] for c in candidates if c["same_as"] is None]
    confirmations = [t for t in confirmed.folder.trials() if t.read_config()["stage"] == "confirm"]
    assert sorted(t.trial_id for t in confirmations) == sorted(
        f"confirm-{label}-seed{seed}" for label in trained for seed in (1, 2)
    )
    for trial in confirmed.folder.trials():
        *earlier, last = trial.read_reports()
        assert not any("test" in key for report in earlier for key in report)
        assert ("test_score" in last) == (trial.read_config()["stage"] == "confirm")
        assert (trial.path / "predictions.parquet").exists() == (
            trial.read_config()["stage"] == "confirm"
        )
    hashes = {(t.read_config()["seed"], t.read_config()["split_hash"]) for t in confirmations}
    assert len(hashes) == 2


def test_confirming_again_changes_nothing(confirmed: Any) -> None:
    before = _contents(confirmed.folder)
    confirmed.confirm()
    assert _contents(confirmed.folder) == before


def _contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [*folder.path.glob("trials/*/*"), folder.path / "candidates.json"]
    return {str(path): path.read_bytes() for path in paths if path.exists()}


# The best alone passes the first epoch.
STRICT = AshaConfig.model_construct(grace_period=1, reduction_factor=1000)


@pytest.mark.parametrize(
    ("name", "chosen", "changes"),
    [
        ("strict", False, {"asha": STRICT}),
        ("chosen", True, {"asha": STRICT, "minutes": 1e-6}),
    ],
)
def test_a_damaged_trial_ends_again_as_it_had_whatever_would_stop_it_now(
    searched: Any,
    make_study: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    chosen: bool,
    changes: dict[str, Any],
) -> None:
    monkeypatch.setattr(deadline, "GRACE", 0.0)
    shutil.copytree(searched.folder.path, searched.folder.path.with_name(name))
    study = make_study(name, search=HALVED)
    if chosen:
        fix_candidates(study.study)
    before = _told(study.folder)
    proposed = [t for t in study.folder.trials() if t.read_config()["arm"] != "baseline"]
    ended = {
        status: [t for t in proposed if t.read_end().status == status]
        for status in ("finished", "stopped")
    }
    weakest = min(ended["finished"], key=lambda t: t.read_reports()[0]["val_score"])
    flip(weakest.path / "reports.jsonl", b'"val_score": 0.')
    flip(ended["stopped"][0].path / "delta.safetensors")
    repair(study.folder)
    search = study.config.search.model_copy(update=changes)
    study.config = study.config.model_copy(update={"search": search})
    study.search()
    assert _told(study.folder) == before
    assert not (study.folder.path / "optuna.journal.damaged").exists()
    assert {trial_id for _, trial_id, _ in study.heard.events} == {
        weakest.trial_id,
        ended["stopped"][0].trial_id,
    }


def _told(folder: StudyFolder) -> dict[str, Any]:
    """What is known of the trials, less times."""
    return {
        trial.trial_id: (
            trial.read_config(),
            untimed(trial),
            replace(not_none(trial.read_end()), seconds=0.0),
            trial.read("delta.safetensors"),
            sorted(path.name for path in trial.path.iterdir()),
        )
        for trial in folder.trials()
    }


@pytest.mark.long
def test_a_trial_whose_reports_were_changed_while_nothing_ran_gets_those_it_would_have_had(
    make_study: Any, searched: Any, caplog: pytest.LogCaptureFixture
) -> None:
    study = make_study("tampered", search={"asha": None, "sampler": "random"})
    study.heard.at["reported", "search-0001", 2] = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(InterruptedStudyError):
        study.search()
    trial = study.folder.trial("search-0001")
    path = trial.path / "reports.jsonl"
    assert trial.read_end() is None
    last = {**trial.read_reports()[-1], "epoch": 4, "val_score": 0.99}
    path.write_bytes(path.read_bytes() + json.dumps(last).encode() + b"\n")
    study.search()
    assert untimed(trial) == untimed(searched.folder.trial("search-0001"))
    assert "search-0001/reports.jsonl" in caplog.text
    assert statuses(study.folder) == {"finished": 9}


def test_data_that_changed_since_a_trial_began_are_refused(tmp_path: Path) -> None:
    """As by a split file that lost a line."""
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create("", {})
    begun = small_trials.trial(
        trial_id="confirm-clipfit-seed1", stage="confirm", split_hash="a" * 16
    )
    folder.trial(begun.trial_id).create(begun.model_dump(mode="json"))
    config = build_config({"name": "mine"}, "test")
    data = small_trials.trial_data(digest="b" * 64)
    with pytest.raises(DataError, match=r"confirm-clipfit-seed1 .*tasks-bbb"):
        run_queue(Study(config, folder), "confirm", [], {1: data}, [])


@pytest.mark.parametrize(
    ("search", "parts"),
    [
        ({}, (4, 12, 32)),
        ({"trials": 17}, (4, 5, 8)),
        ({"trials": 20, "tuned_share": 0.5}, (4, 10, 6)),
        ({"trials": 10, "baselines": {"zero-shot": NOTHING, "clipfit": CLIPFIT}}, (2, 3, 5)),
    ],
)
def test_the_trials_of_a_search_are_split_and_the_share_of_clipfit_is_rounded_up(
    search: dict[str, Any], parts: tuple[int, int, int]
) -> None:
    config = build_config({"search": search}, "test")
    assert budget(config) == parts
    assert sum(parts) == config.search.trials


Make = Callable[..., TrialConfig]


@pytest.fixture
def make(few_digits: TrialData) -> Make:
    """Make the trial of a proposal, its number being 7."""

    def make(proposal: TrialSettings, seed: int = 1, **training: Any) -> TrialConfig:
        config = build_config({"training": training}, "test")
        study = study_of(config, StudyFolder(Path("unread")))
        return make_trial(study, few_digits, "search", Proposal(proposal, "search", 7), seed=seed)

    return make


def test_a_trial_has_the_rates_and_the_weight_that_its_subset_has_a_use_for(make: Make) -> None:
    text = make(settings("text.mlp.fc2.bias", 0.01, 0.02, 8.0))
    assert text.settings == settings("text.mlp.fc2.bias", 0.01, None, 8.0)
    vision = make(settings("vision.ln", 0.01, 0.02, 8.0))
    assert vision.settings == settings("vision.ln", None, 0.02, 0.0)
    assert vision.config_hash == make(settings("vision.ln", None, 0.02, 2.0)).config_hash
    assert vision.config_hash != make(settings("vision.ln", None, 0.01, 8.0)).config_hash
    held = make(settings("vision.ln", None, 0.02, 8.0), regularizer="l2_init")
    assert held.settings.distill_weight == 8.0, "it reaches every parameter"


def test_a_trial_knows_its_number_of_parameters_and_trains_only_where_there_are_some(
    make: Make, few_digits: TrialData
) -> None:
    clipfit = make(settings("clipfit", 0.01, 0.02, 8.0), epochs=5)
    assert clipfit.settings.subset == "text.mlp.fc2.bias + vision.ln"
    assert clipfit.trainable == 2 * 32 + (2 * 3 + 2) * 2 * 32
    assert (clipfit.trial_id, clipfit.epochs) == ("search-0007", 5)
    assert clipfit.split_hash == few_digits.digest[:16]
    nothing = make(settings("none"), epochs=5)
    assert (nothing.trainable, nothing.epochs) == (0, 0)


def test_a_configuration_older_than_the_last_extension_is_refused(make_study: Any) -> None:
    study = make_study("older")
    shown = study.config.model_copy(
        update={"search": study.config.search.model_copy(update={"trials": 8})}
    )
    for number in range(9):
        config = small_trials.trial(
            trial_id=f"search-{number:04d}",
            arm="search",
            number=number,
            seed=shown.seed,
            subset_key=str(number),
            split_hash=study.data.digest[:16],
        )
        study.folder.trial(config.trial_id).create(config.model_dump(mode="json"))
    with pytest.raises(DataError, match=r"plans 8 trials of search, and 9 are there"):
        run_search(Study(shown, study.folder), study.data, [])


@pytest.mark.long
def test_a_variant_in_flight_goes_on_to_its_end_and_is_trained_once(
    tmp_path: Path,
) -> None:
    poor = {"subset": "ln", "rates": {"ln": 3.0}}
    baselines = {"zero-shot": NOTHING, "clipfit": CLIPFIT, "poor": poor}
    asha = {"grace_period": 3, "reduction_factor": 8}
    study = TinyStudy(
        *(tmp_path, "variants", Path("embedded")),
        search={"asha": asha, "baselines": baselines},
        confirm={"seeds": [1, 2], "strength": 0.5},
    )
    study.search()
    before = {trial.trial_id: trial.read_config() for trial in study.folder.trials()}
    variants = [name for name, config in before.items() if config["arm"] == "variant"]
    assert {before[name]["label"] for name in variants} >= {"poor-strength"}
    for name in variants:
        shutil.rmtree(study.folder.trial(name).path)
        study.folder.trial(name).create(before[name])
    study.search()
    assert {trial.trial_id: trial.read_config() for trial in study.folder.trials()} == before
    ends = [study.folder.trial(name).read_end() for name in variants]
    assert [(end.status, end.epochs) for end in ends if end] == [("finished", 4)] * len(variants)
