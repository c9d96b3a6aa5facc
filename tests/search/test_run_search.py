"""The search trains what is left of it, and goes on from what is on disk."""

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler

from study.config.schema import StudyConfig
from study.config.search_section import AshaConfig
from study.search import scheduler, steps
from study.search.candidates import rank_finished_trials, read_or_choose_candidates
from study.search.groups import JOURNAL
from study.search.runner import run_in_process
from study.storage.repair import repair
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import Status, TrialFolder
from study.trial.study import Study
from tests.damage import flip
from tests.not_none import not_none
from tests.real_study import RealStudy, configs_of, optuna_trials, results
from tests.settings import FEW
from tests.study_writer import StudyWriter

from .conftest import HALVED, METHODS, MakeStudy

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [*folder.path.glob("trials/*/*"), *folder.path.glob("candidates.json")]
    return {str(path): path.read_bytes() for path in paths}


def test_a_search_trains_all_that_is_planned_and_nothing_twice(searched: RealStudy):
    configs = configs_of(searched.folder)
    groups = Counter(config.group for config in configs)
    shares = {"baseline": 5, "clipfit-tuned": 4, "search": 6, "full": 2, "projection": 2}
    assert groups == shares
    assert [c.label for c in configs[:5]] == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert [c.number for c in configs] == list(range(19))
    assert {config.group for config in configs[5:10]} == shares.keys() - {"baseline"}
    hashes = {config.config_hash for config in configs}
    assert len(hashes) == len(configs) == searched.config.search.planned_trials
    # The cheapest baselines come first, and then the groups.
    started = [name for event, name, *_ in searched.heard.events if event == "started"]
    labels = [searched.folder.trial(name).read_config()["label"] for name in started[:5]]
    assert labels == ["zero-shot", "linear", "clipfit", "ln", "bitfit"]
    assert started[5:] == sorted(started[5:])


def test_optuna_reads_every_trial_that_its_space_contains(searched: RealStudy):
    known = optuna_trials(searched.folder)
    for trial, config in searched.folder.trials_of("search"):
        if config["group"] in METHODS or config["label"] == "bitfit":
            assert trial.trial_id not in known
            continue
        found, end = known[trial.trial_id], not_none(trial.read_end())
        reports = [report for report in trial.read_reports() if "val_score" in report]
        assert {report["epoch"] for report in reports} <= {0, 3, 4}, "a rung, and the last"
        assert found.intermediate_values == {r["epoch"]: r["val_score"] for r in reports}
        is_complete = found.state is TrialState.COMPLETE
        assert is_complete == (end.status == "finished")
        assert found.value == reports[-1]["val_score"]


def test_what_ended_is_not_run_again_and_the_journal_is_made_of_it(
    searched: RealStudy, tested: RealStudy
):
    known = optuna_trials(searched.folder)
    (searched.folder.path / JOURNAL).write_text("no journal")
    for study, run in ((searched, searched.search), (tested, tested.test)):
        before = contents(study.folder)
        run()
        assert contents(study.folder) == before
    again = optuna_trials(searched.folder)
    assert {name: (t.params, t.value) for name, t in again.items()} == {
        name: (t.params, t.value) for name, t in known.items()
    }


# When trials began and ended, and the seconds in which any of them was trained.
@pytest.mark.parametrize(
    "trials, spent",
    [
        ([], 0),
        ([(0, 10), (5, 30), (6, 8)], 30),  # side by side
        ([(0, 30), (40, 50)], 50),  # a worker that starts is no interruption
        ([(0, 30), (1000, 1010)], 40),
    ],
)
def test_a_search_has_the_time_left_that_its_trials_have_not_spent(
    written: StudyWriter, trials: Sequence[tuple[int, int]], spent: int
):
    for number, (begin, end) in enumerate(trials):
        trial = written.folder.trial(written.trial(number).trial_id)
        trial.append_reports({"epoch": 1, "seconds": end - begin, "ended_at": end})
        trial.append_reports({"epoch": 2, "seconds": 9})  # without a time
    study = Study(changed(written.config, minutes=2), written.folder)
    assert steps.seconds_left(study) == 120 - spent


def changed(config: StudyConfig, **search: Any) -> StudyConfig:
    """Change settings of the search, whatever the rules between them are."""
    return config.model_copy(update={"search": config.search.model_copy(update=search)})


class StopsAll(FIFOScheduler):
    """Stops every trial at the third epoch."""

    def __init__(self, **_: Any):
        super().__init__()

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.STOP if result["epoch"] == 3 else self.CONTINUE


BEHIND: JsonObject = {
    "search": {
        "trials": 9,
        "method_trials": 1,
        "baselines": {**FEW, "projection": METHODS["projection"]},
    },
    "training": {"epochs": 5, "batch_size": 8},
}


@pytest.fixture(scope="module")
def behind(make_study: MakeStudy) -> RealStudy:
    """A study of which successive halving stopped every trial that a group proposed."""
    study = make_study("behind", **BEHIND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "ASHAScheduler", StopsAll)
        study.search(run_in_process)
    return study


def went_on(study: RealStudy) -> list[str]:
    """The trials of groups that came to their last epoch."""
    return [
        trial.trial_id
        for trial, config in study.folder.trials_of("search")
        if trial.has_finished() and config["group"] != "baseline"
    ]


def test_the_best_of_a_group_that_was_all_stopped_goes_on(behind: RealStudy):
    best: dict[str, tuple[float, str]] = {}
    for trial, config in behind.folder.trials_of("search"):
        if config["group"] != "baseline":
            found = trial.read_reports()[2]["val_score"], trial.trial_id
            earlier = best.setdefault(config["group"], found)
            best[config["group"]] = max(earlier, found, key=lambda one: one[0])
    assert went_on(behind) == sorted(name for _, name in best.values())
    assert best.keys() == {"clipfit-tuned", "search", "projection"}
    known = optuna_trials(behind.folder)
    for name in went_on(behind):
        assert [e for what, own, e in behind.heard.events if (what, own) == ("reported", name)] == [
            *range(1, 6)
        ], "no epoch twice"
        assert name not in known or known[name].state is TrialState.COMPLETE
    left = {path.name for path in behind.folder.path.glob("trials/*/*")}
    assert not left & {"state.safetensors", "earlier_end.json"}
    chosen = {trial.config.trial_id for trial in rank_finished_trials(behind.folder)}
    assert chosen == {f"search-{number:04d}" for number in (0, 1)} | {*went_on(behind)}


def test_a_driver_that_is_killed_meanwhile_goes_on_with_it(
    behind: RealStudy, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scheduler, "ASHAScheduler", StopsAll)
    study = make_study("behind-killed", **BEHIND)
    name = went_on(behind)[1]
    study.heard.at["reported", name, 4] = Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        study.search(run_in_process)
    assert study.folder.trial(name).read_end() is None
    study.search(run_in_process)
    assert results(study.folder) == results(behind.folder)


@pytest.mark.parametrize("chosen", [False, True])
def test_a_damaged_trial_ends_again_as_it_had(
    searched: RealStudy, make_study: MakeStudy, chosen: bool
):
    name = f"damaged-{chosen}"
    shutil.copytree(searched.folder.path, searched.folder.path.with_name(name))
    study = make_study(name, search=HALVED)
    if chosen:
        read_or_choose_candidates(study.study)
    before = results(study.folder)
    ended: dict[Status, list[TrialFolder]] = {"finished": [], "stopped": []}
    for trial, config in study.folder.trials_of("search"):
        if config["group"] in ("search", "clipfit-tuned"):
            ended[not_none(trial.read_end()).status].append(trial)
    weakest = min(ended["finished"], key=lambda t: t.read_reports()[2]["val_score"])
    stopped = ended["stopped"][0]
    flip(weakest.path / "reports.jsonl", b'"val_score": 0.')
    flip(stopped.path / "delta.safetensors")
    repair(study.folder)
    strict = AshaConfig.model_construct(grace_period=1, reduction_factor=1000)
    study.config = changed(study.config, asha=strict, minutes=1e-6)
    study.search(run_in_process)
    assert results(study.folder) == before
    assert {event[1] for event in study.heard.events} == {weakest.trial_id, stopped.trial_id}


def test_a_search_ends_in_its_time_with_all_baselines_and_what_was_done(make_study: MakeStudy):
    search = {"trials": 2000, "minutes": 0.02, "asha": None}
    study = make_study("in-time", search=search)
    study.search(run_in_process)
    ends = {trial.trial_id: not_none(trial.read_end()) for trial in study.folder.trials()}
    assert 5 <= len(ends) < 1000
    for trial_id, end in ends.items():
        if study.folder.trial(trial_id).read_config()["group"] == "baseline":
            assert end.status == "finished"
        elif end.status == "stopped":
            assert str(end.reason).startswith("time limit of the search at epoch")
    study.config = changed(study.config, minutes=1e-6)
    study.search(run_in_process)
    assert {trial.trial_id: trial.read_end() for trial in study.folder.trials()} == ends
