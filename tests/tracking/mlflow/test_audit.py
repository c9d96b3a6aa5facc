"""What MLflow lacks of what was sent is found, and sent again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from written_study import MakeStudy, Written, assert_whole, history, runs

from study.errors import TrackingError
from study.run import main
from study.tracking.mlflow import server
from study.tracking.mlflow.audit import Audit
from study.tracking.mlflow.mirror import sync_study
from study.tracking.mlflow.runs import RunWriter

TRIALS = ["search-0000", "search-0001"]


def test_runs_that_mlflow_has_lost_are_sent_again_and_counted(
    mlflow_server: str,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = make("restored")
    for number in range(3):
        study.whole(number)
    study.conclude()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    arguments = ["--sync", "restored", f"storage={study.folder.path.parent}"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow\n"
    before = runs(mlflow_server, study)
    for trial in ("search-0000", "search-0002"):
        MlflowClient(mlflow_server).delete_run(before[trial].info.run_id)
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow, 2 of them sent again\n"
    assert_whole(mlflow_server, study, 3)
    assert main(arguments) == 0
    assert capsys.readouterr().out == "3 trials of restored are in MLflow\n"
    after = runs(mlflow_server, study)
    assert after["search-0001"].info.run_id == before["search-0001"].info.run_id


def test_trials_follow_to_another_run_of_the_study_where_its_own_is_lost(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("orphaned")
    study.whole(0)
    study.conclude()
    sync_study(study.study, mlflow_server)
    before = runs(mlflow_server, study)
    MlflowClient(mlflow_server).delete_run(before[""].info.run_id)
    sync_study(study.study, mlflow_server)
    assert_whole(mlflow_server, study, 1)
    after = runs(mlflow_server, study)
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id


def test_an_interrupted_trial_that_mlflow_has_lost_is_sent_again_as_far_as_it_came(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("unfinished")
    config = study.trial(0)
    study.report(config, 1)
    sync_study(study.study, mlflow_server)
    MlflowClient(mlflow_server).delete_run(runs(mlflow_server, study)["search-0000"].info.run_id)
    assert sync_study(study.study, mlflow_server) == (1, 1)
    run = runs(mlflow_server, study)["search-0000"]
    assert run.info.status == "KILLED"
    assert history(mlflow_server, run) == [(1, 0.01)]


@pytest.fixture
def sent(make: MakeStudy, mlflow_store: str, tmp_path: Path) -> tuple[Written, RunWriter]:
    """Two trials that a store has, and who sent them."""
    study = make(tmp_path.name)
    study.whole(0)
    study.whole(1, "stopped", 2)
    writer = RunWriter(study.study, mlflow_store)
    for trial in TRIALS:
        writer.sync_trial(trial)
    return study, writer


def lose_artifact(client: MlflowClient, run: Run) -> None:
    folder = run.info.artifact_uri.removeprefix("file://")
    (Path(folder) / "delta.safetensors").unlink()


@pytest.mark.parametrize(
    ("lose", "lack"),
    [
        (lambda client, run: None, ""),
        (lambda client, run: client.delete_run(run.info.run_id), "its run is not there"),
        (
            lambda client, run: client.update_run(run.info.run_id, status="RUNNING"),
            "its run is RUNNING, not FINISHED",
        ),
        (lambda client, run: client.delete_tag(run.info.run_id, "label"), "its run lacks tags"),
        (lose_artifact, "its run lacks delta.safetensors"),
    ],
    ids=["nothing", "run", "status", "tag", "artifact"],
)
def test_what_a_run_lacks_is_named_and_the_others_are_whole(
    sent: tuple[Written, RunWriter],
    mlflow_store: str,
    lose: Callable[[MlflowClient, Run], object],
    lack: str,
) -> None:
    study, writer = sent
    lose(MlflowClient(mlflow_store), runs(mlflow_store, study)["search-0000"])
    found = Audit(writer).lacking(TRIALS)
    assert found == {"search-0000": lack, "search-0001": ""}


def test_what_was_not_sent_or_has_changed_since_is_left_out(
    sent: tuple[Written, RunWriter],
) -> None:
    study, writer = sent
    study.whole(2)
    study.folder.trial("search-0001").reopen()
    found = Audit(writer).lacking([*TRIALS, "search-0002"])
    assert found.keys() == {"search-0000"}


def test_runs_beyond_the_first_page_are_listed(
    sent: tuple[Written, RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = sent
    monkeypatch.setattr(server, "PAGE", 1)
    assert len(Audit(writer).runs) == len(TRIALS) + 1


def test_a_server_that_does_not_give_the_runs_is_told(
    sent: tuple[Written, RunWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = sent

    def cut_off(*_: object, **__: object) -> None:
        raise ConnectionError("the connection was cut")

    monkeypatch.setattr(MlflowClient, "search_runs", cut_off)
    with pytest.raises(TrackingError, match=r"does not give the runs .*the connection was cut"):
        Audit(writer)
