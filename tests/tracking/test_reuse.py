"""An ablation that was run before is not run again: equal trials are found and taken over."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from written_study import EPOCHS, Written

from study.analysis.results import read_results
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.method.delta import DeltaInfo, save_delta
from study.run import main
from study.search.driver import ray_session
from study.storage.ledger import KEPT, End, StudyFolder, TrialFolder
from study.tracking.mlflow.tracker import MlflowTracker
from study.tracking.reuse import Ledgers, take_over
from study.trial import TrialConfig
from study.trial.study import Study

GRID = "{vision: vision.ln, text: text.mlp.fc2.bias}"
Run = Callable[..., StudyFolder]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reuse")


@pytest.fixture(scope="module")
def run(place: Path, tiny_backbone: Path) -> Run:
    def run(
        name: str, *overrides: str, storage: str = "runs", store: str = "mlflow.db"
    ) -> StudyFolder:
        small = [
            *(f"name={name}", f"storage={place / storage}", f"backbone.name={tiny_backbone}"),
            *(f"tracking.uri=sqlite:///{place / store}", "tracking.experiment=reuse"),
            *("training.epochs=2", "data.shots=2", "search.selection=holdout", "search.folds=null"),
            *("confirm.seeds=[1, 2]", "ablation.design=grid", f"ablation.subsets={GRID}"),
            *("ablation.rates=[0.01, 0.1]",),
        ]
        keys = {override.partition("=")[0] for override in overrides}
        small = [value for value in small if value.partition("=")[0] not in keys]
        assert main(["ablation", *small, *overrides]) == 0
        return StudyFolder(place / storage / name)

    return run


@pytest.fixture(scope="module")
def first(run: Run) -> StudyFolder:
    with ray_session(StudyConfig()):
        return run("first")


def trials(folder: StudyFolder) -> dict[str, TrialFolder]:
    return {trial.trial_id: trial for trial in folder.trials()}


def taken(folder: StudyFolder) -> set[str]:
    return {name for name, trial in trials(folder).items() if trial.read_config()["taken_from"]}


@pytest.mark.long
def test_the_same_ablation_again_trains_nothing(first: StudyFolder, run: Run, place: Path) -> None:
    again = run("again", storage="elsewhere")  # where no ledger has it
    before, after = trials(first), trials(again)
    assert not taken(first)
    assert taken(again) == before.keys() == after.keys()
    for name, trial in after.items():
        assert trial.read_reports() == before[name].read_reports()
        deltas = [path.read_bytes() for path in sorted(trial.path.glob("delta*"))]
        assert deltas == [path.read_bytes() for path in sorted(before[name].path.glob("delta*"))]
    scores = [
        [trial.test_score for trial in read_results(folder.path).trials]
        for folder in (first, again)
    ]
    assert scores[0] == scores[1]
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("reuse")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.study = 'again'")
    children = [found for found in runs if found.data.tags["stage"] != "study"]
    assert len(children) == len(after)
    for child in children:
        source = client.get_run(child.data.tags["taken_from"])
        assert source.data.tags["study"] == "first"
        assert source.data.metrics.items() >= child.data.metrics.items()


@pytest.mark.long
def test_trials_are_taken_from_a_ledger_before_a_tracker_is_asked(
    first: StudyFolder, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(MlflowTracker, "known", lambda *wanted: asked.append(wanted) or {})
    beside = run("beside", store="other.db")
    assert not asked
    before, after = trials(first), trials(beside)
    assert after.keys() == before.keys()
    for name, trial in after.items():
        assert trial.read_config()["taken_from"] == f"first/{name}"
        assert trial.read_end() is not None
        assert trial.read_end().reason == f"done before by first/{name} of the ledger"
        assert trial.damaged() == []
        for pattern in KEPT:
            written = {path.name: path.read_bytes() for path in trial.path.glob(pattern)}
            assert written == {p.name: p.read_bytes() for p in before[name].path.glob(pattern)}
    client = MlflowClient(f"sqlite:///{place / 'other.db'}")
    experiment = client.get_experiment_by_name("reuse")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.taken_from LIKE 'first/%'")
    assert len(runs) == len(after)


@pytest.mark.long
def test_a_further_cell_is_all_that_is_trained(first: StudyFolder, run: Run) -> None:
    wider = run("wider", f"ablation.subsets={GRID[:-1]}, norms: ln}}")
    new = {
        trial.read_config()["arm"]
        for name, trial in trials(wider).items()
        if name not in taken(wider)
    }
    assert new == {"norms"}


@pytest.mark.long
def test_nothing_is_taken_over_where_that_is_not_wished(first: StudyFolder, run: Run) -> None:
    assert not taken(run("afresh", "ablation.reuse=false", "ablation.rates=[0.1]"))


def tracker_at(place: Path, folder: StudyFolder) -> MlflowTracker:
    """Start the tracker of a study with the store of the others."""
    tracker = MlflowTracker()
    uri = f"sqlite:///{place / 'mlflow.db'}"
    config = build_config({"tracking": {"uri": uri, "experiment": "reuse"}}, "test")
    tracker.start(Study(config, folder))
    return tracker


@pytest.mark.long
def test_what_cannot_be_trusted_is_left_to_be_trained(
    first: StudyFolder, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    wanted = [TrialConfig.model_validate(trial.read_config()) for trial in first.trials()][:5]
    marks = [first.trial(trial.trial_id).path / "mlflow.json" for trial in wanted]
    ids = [json.loads(mark.read_text())["run_id"] for mark in marks]
    reports = first.trial(wanted[0].trial_id).read_reports()
    damage = {
        "reports.jsonl": [
            "".join(json.dumps(report | {"val_score": "1"}) + "\n" for report in reports),
            json.dumps(reports[0]) + "\n",
        ],
        "config.json": [json.dumps({"config_hash": "another"})],
        "delta.safetensors": ["no tensors"],
    }
    damaged = [(name, text) for name, texts in damage.items() for text in texts]
    for run_id, (name, text) in zip(ids, damaged, strict=False):
        client.log_text(run_id, text, name)
    study = Written(tmp_path, "study").folder
    with caplog.at_level(logging.WARNING):
        assert take_over(tracker_at(place, study), study, wanted) == {wanted[4].trial_id}
    assert len(caplog.records) == 4
    assert all("is trained again" in record.getMessage() for record in caplog.records)
    assert [trial.trial_id for trial in study.trials()] == [wanted[4].trial_id]


@pytest.mark.long
def test_a_trial_is_taken_over_whole_or_not_at_all(
    first: StudyFolder, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    wanted = [TrialConfig.model_validate(trial.read_config()) for trial in first.trials()][-1:]
    study = Written(tmp_path, "study").folder
    tracker = tracker_at(place, study)
    for step in ("create", "write", "write_end"):
        with monkeypatch.context() as broken:
            broken.setattr(TrialFolder, step, die)
            with pytest.raises(KeyboardInterrupt):
                take_over(tracker, study, wanted)
        assert list((study.path / "trials").iterdir()) == []
        assert not list(study.path.glob(".adding-*"))
    assert take_over(tracker, study, wanted) == {wanted[0].trial_id}


@pytest.mark.long
def test_a_server_that_is_away_is_told_and_all_is_trained(
    first: StudyFolder, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [TrialConfig.model_validate(trial.read_config()) for trial in first.trials()]
    study = Written(tmp_path, "study").folder
    tracker = tracker_at(place, study)
    tracker._writer.client = MlflowClient("http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert take_over(tracker, study, wanted) == set()
    assert "MLflow was not asked" in caplog.text


HASH = "a" * 16


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A study with one finished trial that has a configuration hash."""
    study = Written(tmp_path, "written")
    finish(study, 0)
    return study


def finish(study: Written, number: int, **changes: Any) -> TrialConfig:
    """Write a finished trial with the configuration hash."""
    config = study.trial(number, config_hash=HASH, **changes)
    for epoch in range(1, EPOCHS + 1):
        study.report(config, epoch)
    study.end(config)
    return config


def found(study: Written) -> dict[str, str]:
    """Return what the ledgers beside a study's have of the configuration hash."""
    wanted = TrialConfig.model_validate(study.folder.trial("search-0000").read_config())
    return dict(Ledgers(study.folder.path.parent).known([wanted]))


def test_a_ledger_has_the_trials_of_every_study_beside_it(written: Written, tmp_path: Path) -> None:
    assert found(written) == {HASH: "written/search-0000"}
    finish(Written(tmp_path, "earlier"), 7)
    assert found(written) == {HASH: "earlier/search-0007"}


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("config.json", "{no json}"),
        ("config.json", "[]"),
        ("reports.jsonl", "{}\n"),
        ("delta.safetensors", "another"),
        ("end.json", "[]"),
        ("end.json", None),
    ],
)
def test_a_trial_that_is_damaged_or_unfinished_is_passed_over_for_the_next(
    written: Written, tmp_path: Path, name: str, contents: str | None
) -> None:
    earlier = Written(tmp_path, "earlier")
    path = earlier.folder.trial(finish(earlier, 0).trial_id).path / name
    path.unlink() if contents is None else path.write_text(contents)
    (tmp_path / "no-study").mkdir()
    (tmp_path / "no-study" / "trials").write_text("a file")
    assert found(written) == {HASH: "written/search-0000"}


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_a_trial_that_did_not_run_to_its_end_is_no_origin(tmp_path: Path, status: str) -> None:
    study = Written(tmp_path, "stopped")
    study.end(study.trial(0, config_hash=HASH), status)
    assert found(study) == {}


def test_a_trial_that_was_itself_taken_over_is_no_origin(tmp_path: Path) -> None:
    study = Written(tmp_path, "again")
    finish(study, 0, taken_from="first/search-0000")
    assert found(study) == {}


@pytest.mark.parametrize(
    ("folds", "is_taken"), [([0.5, 0.25], True), ([0.5, None], False), (["0.5"], False)]
)
def test_the_score_of_each_fold_is_a_number_as_well(
    tmp_path: Path, folds: list[Any], is_taken: bool
) -> None:
    study = Written(tmp_path, "folds")
    config = study.trial(0, config_hash=HASH, epochs=1)
    trial = study.folder.trial(config.trial_id)
    trial.append_report({"epoch": 1, "seconds": 1.0, "val_score": 0.375, "folds": folds})
    info = DeltaInfo("tiny", None, "", "vision.ln", ("a", "b"), ("{}",))
    save_delta(trial.path / "delta.safetensors", {"x": torch.zeros(1)}, info)
    trial.write_end(End("finished", 1, 1.0))
    again = Written(tmp_path, "again")
    taken = take_over(MlflowTracker(), again.folder, [config])
    assert taken == ({config.trial_id} if is_taken else set())
