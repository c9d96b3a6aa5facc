"""The stages of a study: each trains what is left of it, and goes on from what the ledger holds."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from study.search.queues import run_queue
from study.search.stages import JOURNAL, run_search, seconds_left

from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.config.search_section import AshaConfig
from study.errors import DataError
from study.search import deadline
from study.search.choice import fix_candidates
from study.search.ranking import rank_finished_trials
from study.storage.ledger_files import JsonObject
from study.storage.repair import repair
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial import TrialConfig
from study.trial.study import Study
from tests import small_trials
from tests.damage import flip
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.settings import FEW, study_of
from tests.tiny_study import optuna_trials, untimed
from tests.written_study import Written

from .conftest import HALVED, PEERS

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_a_search_trains_nothing_twice_and_each_group_has_its_share(searched: Any):
    configs = [TrialConfig.model_validate(t.read_config()) for t in searched.folder.trials()]
    groups = Counter(config.group for config in configs)
    shares = {"baseline": 5, "clipfit-tuned": 4, "search": 6, "full": 2, "projection": 2}
    assert groups == shares
    assert [c.label for c in configs[:5]] == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert [c.number for c in configs] == list(range(19))
    in_turn = {config.group for config in configs[5:13]}
    assert in_turn == shares.keys() - {"baseline"}, "the groups must not wait for each other"
    assert (
        len({config.config_hash for config in configs})
        == len(configs)
        == searched.config.search.planned_trials
    )


def test_the_cheapest_answers_come_first_and_those_that_train_encoders_follow_by_cost(
    searched: Any,
):
    started = [name for event, name, *_ in searched.heard.events if event == "started"]
    configs = [searched.folder.trial(name).read_config() for name in started[:6]]
    labels = ["zero-shot", "linear", "projection 5", "clipfit", "ln", "bitfit"]
    assert [config["label"] for config in configs] == labels


@pytest.fixture
def with_peers(tmp_path: Path) -> Study:
    """A study that has not begun, with a peer that has a search of its own, and a limited time."""
    search = {
        "trials": 12,
        "method_trials": 5,
        "minutes": 2,
        "baselines": {"full": {"peer": "full"}},
    }
    config = build_config({"name": "mine", "search": search}, "test")
    folder = StudyFolder(tmp_path / "mine")
    (folder.path / "trials").mkdir(parents=True)
    return study_of(config, folder)


def add_trial(study: Study, number: int, group: str, label: str, *ended_at: float):
    """Write a trial of the search whose epochs of ten seconds ended at some times."""
    trial = study.folder.trial(f"search-{number:04d}")
    trial.create({"stage": "search", "group": group, "label": label, "number": number})
    for epoch, end in enumerate(ended_at, start=1):
        trial.append_report({"epoch": epoch, "seconds": 10.0, "ended_at": end})


def test_a_search_has_the_time_left_that_its_own_trials_have_not_spent(with_peers: Study):
    assert seconds_left(with_peers) == 120
    add_trial(with_peers, 0, "search", "trial 0", 1000.0, 1010.0)
    assert seconds_left(with_peers) == 100
    add_trial(with_peers, 2, "search", "trial 2", *range(2000, 2300, 10))
    assert seconds_left(with_peers) == 120 - 20 - 300


def test_optuna_knows_every_outcome_under_the_name_that_the_report_has(searched: Any):
    groups = ("search", "clipfit-tuned", *PEERS)
    known = {group: optuna_trials(searched.folder, group) for group in groups}
    assert "clipfit" in [trial.user_attrs.get("label") for trial in known["search"]]
    for trial in searched.folder.trials():
        config, end = trial.read_config(), trial.read_end()
        if config["group"] == "baseline":
            continue
        (told,) = [t for t in known[config["group"]] if t.user_attrs.get("trial") == trial.trial_id]
        reports = [report for report in trial.read_reports() if "val_score" in report]
        assert {report["epoch"] for report in reports} <= {3, 4}, "a rung, and the last"
        scores = {report["epoch"]: report["val_score"] for report in reports}
        state = TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED
        assert (told.state, told.user_attrs) == (state, {"trial": trial.trial_id})
        assert {**told.intermediate_values, end.epochs: told.value} == scores


def test_neither_a_finished_search_nor_its_tests_are_run_again(searched: Any, tested: Any):
    for study, run in ((searched, searched.search), (tested, tested.test)):
        before = _contents(study.folder)
        run()
        assert _contents(study.folder) == before


def test_a_search_that_ended_needs_no_journal(searched: Any, tmp_path: Path):
    folder = StudyFolder(shutil.copytree(searched.folder.path, tmp_path / "heir"))
    (folder.path / JOURNAL).unlink()
    before = _contents(folder)
    run_search(Study(searched.config, folder), searched.data, [])
    assert _contents(folder) == before


def test_a_trial_that_only_lacked_its_closing_is_closed_and_observers_hear_of_it(
    searched: Any, monkeypatch: pytest.MonkeyPatch
):
    trial = searched.folder.trial("search-0001")
    end = trial.read_end()
    (trial.path / "end.json").unlink()
    monkeypatch.setattr(searched.heard, "events", [])
    searched.search()
    assert searched.heard.events == [("ended", "search-0001", "finished")]
    assert trial.read_end() == end


def test_all_candidates_are_tested_the_best_of_each_peer_too_and_nothing_else_is(
    tested: Any,
):
    candidates = tested.folder.read_json("candidates.json")
    trained = {candidate["training"] for candidate in candidates}
    tests = [t for t in tested.folder.trials() if t.read_config()["stage"] == "test"]
    assert sorted(t.trial_id for t in tests) == sorted(
        f"test-{training}-seed{seed}" for training in trained for seed in (1, 2)
    )
    ranked = rank_finished_trials(tested.folder)
    origins = {candidate["label"]: candidate["source_trial"] for candidate in candidates}
    for label in PEERS:
        best = next(judged.config for judged in ranked if judged.config.group == label)
        assert origins[label] == best.trial_id
    hashes = {(t.read_config()["seed"], t.read_config()["split_hash"]) for t in tests}
    assert len(hashes) == 2


def _contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [*folder.path.glob("trials/*/*"), *folder.path.glob("candidates.json")]
    return {str(path): path.read_bytes() for path in paths}


def changed(config: StudyConfig, **search: Any) -> StudyConfig:
    """Change settings of the search, whatever the rules between them are."""
    return config.model_copy(update={"search": config.search.model_copy(update=search)})


# The best alone passes the first epoch.
STRICT = AshaConfig.model_construct(grace_period=1, reduction_factor=1000)


@pytest.mark.parametrize("chosen", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_damaged_trial_ends_again_as_it_had_whatever_would_stop_it_now(
    searched: Any, make_study: Any, monkeypatch: pytest.MonkeyPatch, chosen: bool
):
    monkeypatch.setattr(deadline, "GRACE", 0.0)
    name = f"damaged-{chosen}"
    shutil.copytree(searched.folder.path, searched.folder.path.with_name(name))
    study = make_study(name, search=HALVED)
    if chosen:
        fix_candidates(study.study)
    before = _told(study.folder)
    ended: dict[str, list[TrialFolder]] = {"finished": [], "stopped": []}
    for trial in study.folder.trials():
        if trial.read_config()["group"] in ("search", "clipfit-tuned"):
            ended[trial.read_end().status].append(trial)
    weakest = min(ended["finished"], key=lambda t: t.read_reports()[2]["val_score"])
    stopped = ended["stopped"][0]
    flip(weakest.path / "reports.jsonl", b'"val_score": 0.')
    flip(stopped.path / "delta.safetensors")
    repair(study.folder)
    study.config = changed(study.config, asha=STRICT, minutes=1e-6)
    with trials_in_process():
        study.search()
    assert _told(study.folder) == before
    assert not (study.folder.path / "optuna.journal.damaged").exists()
    assert {event[1] for event in study.heard.events} == {weakest.trial_id, stopped.trial_id}


def _told(folder: StudyFolder) -> JsonObject:
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


def test_data_that_changed_since_a_trial_began_are_refused(tmp_path: Path):
    """As by a split file that lost a line."""
    written = Written(tmp_path, "mine")
    written.trial(1, trial_id="test-clipfit-seed1", stage="test")
    data = small_trials.trial_data(digest="b" * 64)
    with pytest.raises(DataError, match=r"test-clipfit-seed1 .*tasks-bbb"):
        run_queue(written.study, "test", [], {1: data}, [])


@pytest.mark.parametrize(
    "search, parts",
    [
        ({}, (4, 12, 32)),
        ({"trials": 17}, (4, 5, 8)),
        ({"trials": 10, "baselines": FEW}, (2, 3, 5)),
    ],
)
def test_the_trials_of_a_search_are_split_and_the_share_of_clipfit_is_rounded_up(
    search: JsonObject, parts: tuple[int, int, int]
):
    config = build_config({"search": search}, "test")
    assert config.search.budget == parts


def test_a_configuration_older_than_the_last_extension_is_refused(tmp_path: Path):
    written = Written(tmp_path, "older")
    for number in range(9):
        written.trial(number)
    study = Study(changed(written.config, trials=8), written.folder)
    with pytest.raises(DataError, match=r"plans 8 trials of search, and 9 are there"):
        run_search(study, small_trials.trial_data(digest="f" * 64), [])
