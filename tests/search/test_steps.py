"""The steps of a study: each trains what is left of it, and goes on from what is on disk."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler

from study.config.labels import WITH_DELTA
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.config.search_section import AshaConfig
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.method.delta import HEAD_ROWS, load_delta
from study.search import scheduler, steps
from study.search.choice import fix_candidates, make_candidate, rank_finished_trials
from study.search.groups import JOURNAL
from study.storage.repair import repair
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, Status, TrialFolder
from study.trial.predictions import read_predictions
from study.trial.prepare import Preparer
from study.trial.study import BEST, Candidate, Study, TrialConfig, TrialData, best_candidate
from tests.damage import flip
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.settings import FEW, settings, study_of
from tests.tiny_study import TinyStudy, optuna_trials, untimed
from tests.written_study import Written

from .conftest import HALVED, METHODS

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]

MakeStudy = Callable[..., TinyStudy]


def configs_of(folder: StudyFolder, stage: str = "search") -> list[TrialConfig]:
    return [TrialConfig.model_validate(config) for _, config in folder.trials_of(stage)]


def contents(folder: StudyFolder) -> dict[str, bytes]:
    paths = [*folder.path.glob("trials/*/*"), *folder.path.glob("candidates.json")]
    return {str(path): path.read_bytes() for path in paths}


def results(folder: StudyFolder) -> JsonObject:
    """All that must be the same of trials, however they came to it."""
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


# The search


def test_a_search_trains_all_that_is_planned_and_nothing_twice(searched: TinyStudy):
    configs = configs_of(searched.folder)
    groups = Counter(config.group for config in configs)
    shares = {"baseline": 5, "clipfit-tuned": 4, "search": 6, "full": 2, "projection": 2}
    assert groups == shares
    assert [c.label for c in configs[:5]] == ["zero-shot", "clipfit", "bitfit", "ln", "linear"]
    assert [c.number for c in configs] == list(range(19))
    assert {config.group for config in configs[5:10]} == shares.keys() - {"baseline"}
    hashes = {config.config_hash for config in configs}
    assert len(hashes) == len(configs) == searched.config.search.planned_trials


def test_the_cheapest_baselines_come_first_and_then_the_groups(searched: TinyStudy):
    started = [name for event, name, *_ in searched.heard.events if event == "started"]
    labels = [searched.folder.trial(name).read_config()["label"] for name in started[:5]]
    assert labels == ["zero-shot", "linear", "clipfit", "ln", "bitfit"]
    assert started[5:] == sorted(started[5:])


def test_optuna_reads_every_trial_that_its_space_contains(searched: TinyStudy):
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
    searched: TinyStudy, tested: TinyStudy
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


def test_a_trial_that_only_lacked_its_closing_is_closed_and_observers_hear_of_it(
    searched: TinyStudy, monkeypatch: pytest.MonkeyPatch
):
    trial = searched.folder.trial("search-0001")
    end = trial.read_end()
    (trial.path / "end.json").unlink()
    monkeypatch.setattr(searched.heard, "events", [])
    searched.search()
    assert searched.heard.events == [("ended", "search-0001", "finished")]
    assert trial.read_end() == end


def test_a_search_has_the_time_left_that_its_own_trials_have_not_spent(tmp_path: Path):
    written = Written(tmp_path, "mine")
    study = Study(changed(written.config, minutes=2), written.folder)
    assert steps.seconds_left(study) == 120
    for number, ended_at in enumerate([(1000.0, 1010.0), range(2000, 2300, 10)]):
        trial = written.folder.trial(written.trial(number).trial_id)
        for epoch, end in enumerate(ended_at, start=1):
            trial.append_report({"epoch": epoch, "seconds": 10.0, "ended_at": end})
    assert steps.seconds_left(study) == 120 - 20 - 300


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
def behind(make_study: MakeStudy) -> TinyStudy:
    """A study of which successive halving stopped every trial that a group proposed."""
    study = make_study("behind", **BEHIND)
    with pytest.MonkeyPatch.context() as patch, trials_in_process():
        patch.setattr(scheduler, "ASHAScheduler", StopsAll)
        study.search()
    return study


def went_on(study: TinyStudy) -> list[str]:
    """The trials of groups that came to their last epoch."""
    return [
        trial.trial_id
        for trial, config in study.folder.trials_of("search")
        if trial.has_finished() and config["group"] != "baseline"
    ]


def test_the_best_of_a_group_of_which_none_came_to_its_end_goes_on_from_its_state(
    behind: TinyStudy,
):
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
    chosen = {judged.config.trial_id for judged in rank_finished_trials(behind.folder)}
    assert chosen == {f"search-{number:04d}" for number in (0, 1)} | {*went_on(behind)}


def test_a_driver_that_is_killed_meanwhile_goes_on_with_it(
    behind: TinyStudy, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scheduler, "ASHAScheduler", StopsAll)
    study = make_study("behind-killed", **BEHIND)
    name = went_on(behind)[1]
    study.heard.at["reported", name, 4] = interrupt
    with trials_in_process():
        with pytest.raises(KeyboardInterrupt):
            study.search()
        assert study.folder.trial(name).read_end() is None
        study.search()
    assert results(study.folder) == results(behind.folder)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("chosen", [False, True])
def test_a_damaged_trial_ends_again_as_it_had_whatever_would_stop_it_now(
    searched: TinyStudy, make_study: MakeStudy, chosen: bool
):
    name = f"damaged-{chosen}"
    shutil.copytree(searched.folder.path, searched.folder.path.with_name(name))
    study = make_study(name, search=HALVED)
    if chosen:
        fix_candidates(study.study)
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
    with trials_in_process():
        study.search()
    assert results(study.folder) == before
    assert {event[1] for event in study.heard.events} == {weakest.trial_id, stopped.trial_id}


# The test


def test_all_candidates_are_tested_the_best_of_each_method_too_and_nothing_else_is(
    tested: TinyStudy,
):
    candidates = not_none(tested.study.candidates())
    assert sorted(t.trial_id for t in configs_of(tested.folder, "test")) == sorted(
        {f"test-{one.training}-seed{seed}" for one in candidates for seed in (1, 2)}
    )
    ranked = rank_finished_trials(tested.folder)
    origins = {candidate.label: candidate.source_trial for candidate in candidates}
    for label in METHODS:
        best = next(judged.config for judged in ranked if judged.config.group == label)
        assert origins[label] == best.trial_id
    finished = {judged.config.trial_id for judged in ranked}
    assert {*origins.values()} <= finished
    assert len({(t.seed, t.split_hash) for t in configs_of(tested.folder, "test")}) == 2


TEXT = settings("vision.ln", None, 0.01)
LINEAR = TEXT.model_copy(update={"head": "linear"})
FULL = TrialSettings.model_validate({"subset": "none", "method": {"method": "full", "lr": 1e-5}})


def candidate(label: str, own: TrialSettings, training: str) -> Candidate:
    return Candidate(label=label, settings=own, training=training, choice=8)


def test_candidates_of_one_training_share_it_and_the_final_model_has_its_head():
    other, plain = candidate("other", TEXT, "b"), candidate("plain", TEXT, "a")
    linear, best = candidate("linear", LINEAR, "a"), candidate(BEST, LINEAR, "a")
    assert [*steps.trainings_of([other, plain, linear]).items()] == [("b", TEXT), ("a", TEXT)]
    assert [*steps.trainings_of([other, plain, best]).items()] == [("b", TEXT), ("a", LINEAR)]
    # The final model is of the best that can be written, where the best cannot.
    full, written = candidate(BEST, FULL, "f"), candidate(WITH_DELTA, LINEAR, "a")
    assert steps.trainings_of([full, plain, written]) == {"f": FULL, "a": LINEAR}


def test_a_training_is_tested_once_with_each_head_and_in_a_process_as_by_ray(
    make_study: MakeStudy,
):
    def trial_of(study: TinyStudy) -> TrialFolder:
        rates = {"rates": {"bias": 0.05, "ln": 0.02}, "distill_weight": 1.0}
        same = {"subset": "text.mlp.fc2.bias + vision.ln", "head": "linear"}  # written otherwise
        candidates = [
            make_candidate(study.study, label, TrialSettings.model_validate(own | rates))
            for label, own in (("plain", {"subset": "clipfit"}), (BEST, same))
        ]
        data = {1: study.preparer.test(1)}
        batch = steps.plan_test(study.study, steps.trainings_of(candidates), data)
        steps.run_test(study.study, [batch], [study.heard])
        (trial,) = study.folder.trials()
        assert trial.trial_id == f"test-{candidates[0].training}-seed1"
        return trial

    given = {
        "training": {"epochs": 2, "batch_size": 8},
        "search": {"heads": ["text", "linear"]},
    }
    study, twin = (make_study(name, **given) for name in ("by-ray", "in-process"))
    trial = trial_of(study)
    with trials_in_process():
        trial_of(twin)
    assert results(study.folder) == results(twin.folder)
    *_, last = trial.read_reports()
    assert last["test_score"] == last["test_score_linear"], "the head of the best"
    assert HEAD_ROWS in load_delta(trial.path / "delta.safetensors")[0]
    for head in ("text", "linear"):
        rows = read_predictions(study.folder, trial.trial_id, head)
        right = sum(row.label == row.predicted for row in rows) / len(rows)
        assert right == pytest.approx(last["scores"][head]["score"])


# The final model


@pytest.fixture(scope="module")
def finished(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyStudy]:
    """A study that has come to its end, but for what is written then; its trials are run here."""
    baselines = {
        **FEW,
        "clipfit": {"subset": "clipfit", "rates": {"bias": 0.02, "ln": 0.02}},
    }
    tiny = TinyStudy(
        tmp_path_factory.mktemp("runs"),
        "finished",
        tiny_backbone,
        search={
            "trials": 5,
            "selection": "folds",
            "folds": 2,
            "asha": None,
            "heads": ["text", "linear"],
            "baselines": baselines,
        },
        training={"epochs": 2, "batch_size": 8},
        test={"seeds": [1, 2], "runners_up": 0},
        final={"images": "labelled"},
    )
    with trials_in_process():
        tiny.search()
        tiny.test()
        train_final(tiny)
        yield tiny


def train_final(tiny: TinyStudy):
    study = Study(tiny.config, tiny.folder)
    steps.run_test(study, [steps.plan_final(study, tiny.preparer, [tiny.heard])], [tiny.heard])


def final_trial(tiny: TinyStudy, images: str = "labelled") -> TrialFolder:
    (trial,) = tiny.folder.path.glob(f"trials/final-{images}-*")
    return TrialFolder(trial)


def test_the_best_configuration_learns_from_validation_images_too_and_is_tested_once(
    finished: TinyStudy,
):
    shots = finished.preparer.shots(1)
    data = finished.preparer.final()
    assert {*data.tasks[0].train.records} == {*shots.train, *shots.val}
    trial = final_trial(finished)
    best = not_none(best_candidate(finished.study.candidates()))
    assert trial.read_config()["settings"] == best.settings.model_dump(mode="json")
    *epochs, last = trial.read_reports()
    assert not any("test_score" in report for report in epochs)
    tested = {p.path for p in read_predictions(finished.folder, trial.trial_id)}
    assert last["test_score"] > 0
    assert tested == {record.path for record in finished.study.dataset.test}
    assert (trial.path / "delta.safetensors").exists()


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_a_final_training_that_is_lost_or_failed_is_trained_again(finished: TinyStudy, how: str):
    trial = final_trial(finished)
    before = untimed(trial), trial.read("delta.safetensors")
    if how == "lost":
        shutil.rmtree(trial.path)
    else:
        trial.write_end(End("failed", 1, 1.0))
    train_final(finished)
    assert trial.has_finished()
    assert before == (untimed(trial), trial.read("delta.safetensors"))


def test_another_final_model_learns_from_test_images_and_leaves_no_training_open(
    finished: TinyStudy,
):
    left = final_trial(finished)
    left.reopen()
    study = finished.study.with_config(finished.config.with_section("final", images="everything"))
    preparer = Preparer(study, finished.architecture.image_size)
    batch = steps.plan_final(study, preparer, [finished.heard])
    steps.run_test(study, [batch], [finished.heard])
    assert not_none(left.read_end()).status == "stopped"
    dataset = study.dataset
    trained = {*preparer.final().tasks[0].train.records}
    assert trained == {*dataset.train, *dataset.val, *dataset.test}
    trial = final_trial(finished, "everything")
    assert "test_score" not in trial.read_reports()[-1]
    assert (trial.path / "delta.safetensors").exists()
    train_final(finished)
    assert left.has_finished(), "the earlier one, if it is asked for again"


# The ablation

GRID: JsonObject = {
    "design": "grid",
    "subsets": {"norms": "vision.ln", "biases": "text.bias"},
    "rates": [0.01, 0.1],
    "distill_weight": 2.0,
}


class Ablation:
    """An ablation whose trials end at once, each with a score that follows from its rates."""

    def __init__(self, path: Path, data: TrialData):
        self.folder = StudyFolder(path)
        self.folder.create(dump_config(build_config({"ablation": GRID}, "test")), {})
        self.data = data
        self.scores: dict[str, tuple[float | None, float | None]] = {}
        """Of a cell at 0.01 and at 0.1; None means that the trial fails."""

    def study(self, **changes: Any) -> Study:
        config = build_config({"seed": 3, "ablation": GRID | changes}, "test")
        return study_of(config, self.folder)

    def train(self) -> list[TrialConfig]:
        """Train the cells; return their trials."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "run_trials", self._run_trials)
            steps.run_ablation(self.study(), self.data, [])
        return configs_of(self.folder)

    def rates(self, **changes: Any) -> JsonObject:
        return {**steps.choose_rates(self.study(**changes))}

    def _run_trials(self, study: Study, searcher: Any, *, count: int, **_: Any):
        for turn in range(count):
            config = TrialConfig.model_validate(searcher.suggest(str(turn)))
            trial = study.folder.trial(config.trial_id)
            score = self.scores.get(config.group, (0.5, 0.6))["at 0.1" in config.label]
            if score is not None:
                trial.append_report({"epoch": 1, "val_score": score, "seconds": 1.0})
            trial.write_end(End("failed" if score is None else "finished", 1, 1.0))


@pytest.fixture
def ablation(tmp_path: Path, few_digits: TrialData) -> Ablation:
    return Ablation(tmp_path / "mine", few_digits)


def test_every_cell_is_trained_at_every_rate_and_validation_chooses_once(ablation: Ablation):
    ablation.scores = {"norms": (0.8, 0.3), "biases": (0.4, 0.4)}
    trials = ablation.train()
    assert [(trial.trial_id, trial.group, trial.label) for trial in trials] == [
        (f"search-{2 * cell + turn:04d}", name, f"{name} at {rate}")
        for cell, name in enumerate(("base", "norms", "biases"))
        for turn, rate in enumerate((0.01, 0.1))
    ]
    chosen = {
        "base": settings("clipfit", 0.1, 0.1, 2.0),
        "norms": settings("vision.ln", None, 0.01, 0.0),
        "biases": settings("text.bias", 0.01, None, 2.0),  # of two that are equal the first
    }
    assert [trials[number].settings for number in (1, 2, 4)] == [*chosen.values()]
    assert ablation.rates() == chosen
    assert ablation.rates(rates=[0.3]) == chosen, "it is written"


def test_a_cell_that_failed_at_every_rate_is_left_out(ablation: Ablation):
    ablation.scores = {"base": (None, None)}
    ablation.train()
    assert list(ablation.rates()) == ["norms", "biases"]


def test_an_ablation_whose_cells_all_failed_chooses_nothing(ablation: Ablation):
    ablation.scores = dict.fromkeys(("base", "norms", "biases"), (None, None))
    ablation.train()
    with pytest.raises(StudyError, match="no trial of any cell ran all its epochs"):
        ablation.rates()
    assert ablation.study().cells() is None


def test_a_single_rate_needs_no_search(ablation: Ablation):
    assert ablation.rates(rates=[0.3]) == {
        "base": settings("text.mlp.fc2.bias + vision.ln", 0.3, 0.3, 2.0),
        "norms": settings("vision.ln", 0.3, 0.3, 2.0),
        "biases": settings("text.bias", 0.3, 0.3, 2.0),
    }


def test_each_cell_is_tested_with_each_seed_under_a_name_of_its_own(
    few_digits: TrialData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "trials").mkdir()
    monkeypatch.setattr("study.search.make_trial.compute_config_hash", lambda *_: "")  # slow
    study = study_of(StudyConfig(), StudyFolder(tmp_path))
    cells = {f"cell {n}": settings("vision.ln", None, 0.01 + n / 10_000) for n in range(3)}
    data = {seed: replace(few_digits, digest=str(seed) * 64) for seed in (3, 1)}
    tested = steps.plan_test(study, cells, data, "ablation").trials
    expected = [(label, own, seed) for seed in data for label, own in cells.items()]
    assert [(trial.label, trial.settings, trial.seed) for trial in tested] == expected
    assert [trial.trial_id for trial in tested[2:4]] == ["ablation-0002", "ablation-1000"]
