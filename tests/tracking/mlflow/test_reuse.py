"""An ablation that was run before is not run again: equal trials are taken from MLflow."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.analysis.results import read_results
from study.config.schema import StudyConfig
from study.run import main
from study.search.driver import ray_session
from study.storage.ledger import StudyFolder, TrialFolder
from study.tracking.mlflow.reuse import take_over
from study.trial import TrialConfig

GRID = "{vision: vision.ln, text: text.mlp.fc2.bias}"
Run = Callable[..., StudyFolder]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reuse")


@pytest.fixture(scope="module")
def run(place: Path, tiny_backbone: Path) -> Run:
    def run(name: str, *overrides: str) -> StudyFolder:
        small = [
            *(f"name={name}", f"storage={place / 'runs'}", f"backbone.name={tiny_backbone}"),
            *(f"tracking.uri=sqlite:///{place / 'mlflow.db'}", "tracking.experiment=reuse"),
            *("training.epochs=2", "data.shots=2", "search.selection=holdout", "search.folds=null"),
            *("confirm.seeds=[1, 2]", "ablation.design=grid", f"ablation.subsets={GRID}"),
            *("ablation.rates=[0.01, 0.1]",),
        ]
        keys = {override.partition("=")[0] for override in overrides}
        small = [value for value in small if value.partition("=")[0] not in keys]
        assert main(["ablation", *small, *overrides]) == 0
        return StudyFolder(place / "runs" / name)

    return run


@pytest.fixture(scope="module")
def first(run: Run) -> StudyFolder:
    with ray_session(StudyConfig()):
        return run("first")


def trials(folder: StudyFolder) -> dict[str, TrialFolder]:
    return {trial.trial_id: trial for trial in folder.trials()}


def taken(folder: StudyFolder) -> set[str]:
    return {name for name, trial in trials(folder).items() if trial.config["taken_from"]}


def test_the_same_ablation_again_trains_nothing(first: StudyFolder, run: Run, place: Path) -> None:
    again = run("again")
    before, after = trials(first), trials(again)
    assert not taken(first)
    assert taken(again) == before.keys() == after.keys()
    for name, trial in after.items():
        assert trial.reports == before[name].reports
        deltas = [path.read_bytes() for path in sorted(trial.path.glob("delta*"))]
        assert deltas == [path.read_bytes() for path in sorted(before[name].path.glob("delta*"))]
    scores = [read_results(folder.path).column("test_score") for folder in (first, again)]
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


def test_a_further_cell_is_all_that_is_trained(first: StudyFolder, run: Run) -> None:
    wider = run("wider", f"ablation.subsets={GRID[:-1]}, norms: ln}}")
    new = {trial.config["arm"] for name, trial in trials(wider).items() if name not in taken(wider)}
    assert new == {"norms"}


def test_nothing_is_taken_over_where_that_is_not_wished(first: StudyFolder, run: Run) -> None:
    assert not taken(run("afresh", "ablation.reuse=false", "ablation.rates=[0.1]"))


def test_what_cannot_be_trusted_is_left_to_be_trained(
    first: StudyFolder, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    wanted = [TrialConfig.model_validate(trial.config) for trial in first.trials()][:5]
    marks = [first.trial(trial.trial_id).path / "mlflow.json" for trial in wanted]
    ids = [json.loads(mark.read_text())["run_id"] for mark in marks]
    reports = first.trial(wanted[0].trial_id).reports
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
    study = StudyFolder(tmp_path / "study")
    study.create("", {})
    with caplog.at_level(logging.WARNING):
        assert take_over(client, study, wanted) == {wanted[4].trial_id}
    assert len(caplog.records) == 4
    assert all("is trained again" in record.getMessage() for record in caplog.records)
    assert [trial.trial_id for trial in study.trials()] == [wanted[4].trial_id]


def test_a_trial_is_taken_over_whole_or_not_at_all(
    first: StudyFolder, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    wanted = [TrialConfig.model_validate(trial.config) for trial in first.trials()][-1:]
    study = StudyFolder(tmp_path / "study")
    study.create("", {})
    for step in ("create", "replace_reports", "write_end"):
        with monkeypatch.context() as broken:
            broken.setattr(TrialFolder, step, die)
            with pytest.raises(KeyboardInterrupt):
                take_over(client, study, wanted)
        assert list((study.path / "trials").iterdir()) == []
        assert not list(study.path.glob(".taking-*"))
    assert take_over(client, study, wanted) == {wanted[0].trial_id}


def test_a_server_that_is_away_is_told_and_all_is_trained(
    first: StudyFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [TrialConfig.model_validate(trial.config) for trial in first.trials()]
    client = MlflowClient("http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert take_over(client, StudyFolder(tmp_path / "study"), wanted) == set()
    assert "MLflow was not asked" in caplog.text
