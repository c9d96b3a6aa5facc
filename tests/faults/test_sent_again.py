"""What MLflow lacks of what was sent is found and sent again: lost runs, and calls never heard.

A proxy that answers ``{}`` to what it does not pass on is believed until the runs are looked at.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from written_study import EPOCHS, Written, history, runs

from study.errors import TrackingError
from study.run import main
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow.mirror import Mirror, sync_study

from .proxy import Proxy

LIE = "200 {}"


@pytest.fixture
def proxy(mlflow_server: str) -> Iterator[Proxy]:
    proxy = Proxy(mlflow_server)
    yield proxy
    proxy.close()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Written]:
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.1)
    return lambda name: Written(tmp_path, name)


def assert_whole(uri: str, study: Written, trials: int) -> None:
    """All trials are there once, ended and with their epochs and artifacts, under one parent."""
    found = runs(uri, study)
    assert len(found) == trials + 1
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    parent = found.pop("")
    for run in found.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["subset"] == "vision.ln[0:2]"
        assert [step for step, _ in history(uri, run)] == [*range(1, EPOCHS + 1)]
        for key in ("epochs", "seconds", "trainable"):
            assert len(history(uri, run, key)) == 1
        assert {"config.json", "reports.jsonl", "delta.safetensors"} <= {
            artifact.path for artifact in MlflowClient(uri).list_artifacts(run.info.run_id)
        }


def test_runs_that_mlflow_has_lost_are_sent_again_and_counted(
    mlflow_server: str,
    make: Callable[[str], Written],
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
    mlflow_server: str, make: Callable[[str], Written]
) -> None:
    study = make("orphaned")
    study.whole(0)
    study.conclude()
    sync_study(study.config, study.folder, mlflow_server)
    before = runs(mlflow_server, study)
    MlflowClient(mlflow_server).delete_run(before[""].info.run_id)
    sync_study(study.config, study.folder, mlflow_server)
    assert_whole(mlflow_server, study, 1)
    after = runs(mlflow_server, study)
    assert after["search-0000"].info.run_id == before["search-0000"].info.run_id


@pytest.mark.parametrize("swallowed", ["log-batch", "artifacts/", "runs/update", ""])
def test_what_a_proxy_answered_for_a_server_that_never_heard_of_it_is_sent_again(
    proxy: Proxy, make: Callable[[str], Written], swallowed: str
) -> None:
    study = make(f"swallowed-{swallowed.strip('/').replace('/', '-')}")
    mirror = Mirror(study.config, study.folder, proxy.uri)
    mirror.start()
    config = study.trial(0)
    mirror.trial_started(config)
    while not list(study.folder.path.glob("trials/*/mlflow.json")):
        time.sleep(0.05)
    proxy.judge = lambda path, body: (
        LIE if body and swallowed in path and "search" not in path else ""
    )
    for epoch in range(1, EPOCHS + 1):
        mirror.trial_reported(config, epoch, study.report(config, epoch))
    mirror.trial_ended(config, study.end(config), 0.03)
    mirror.close(finished=True)
    study.conclude()
    proxy.mend()
    assert sync_study(study.config, study.folder, proxy.uri) == (1, 1)
    assert_whole(proxy.uri, study, 1)
    assert sync_study(study.config, study.folder, proxy.uri) == (1, 0)


def test_epochs_that_were_swallowed_between_others_are_sent_again(
    proxy: Proxy, make: Callable[[str], Written]
) -> None:
    study = make("between")
    config = study.trial(0)
    for epoch in range(1, EPOCHS + 1):
        if epoch == 2:
            proxy.fail(LIE, where="log-batch")
        study.report(config, epoch)
        mirror = Mirror(study.config, study.folder, proxy.uri)
        mirror.start()
        assert mirror.close(finished=False) == {}
        proxy.mend()
    study.end(config)
    study.conclude()
    assert sync_study(study.config, study.folder, proxy.uri) == (1, 1)
    assert_whole(proxy.uri, study, 1)


def test_what_is_swallowed_while_it_is_sent_again_is_named(
    proxy: Proxy, make: Callable[[str], Written]
) -> None:
    study = make("liar")
    study.whole(0)
    study.whole(1)
    study.conclude()
    sync_study(study.config, study.folder, proxy.uri)
    MlflowClient(proxy.uri).delete_run(runs(proxy.uri, study)["search-0001"].info.run_id)
    proxy.judge = lambda path, body: LIE if "delta" in path else ""
    lacks = r"lacks 1 run:\n  search-0001: its run lacks delta.safetensors"
    with pytest.raises(TrackingError, match=lacks):
        sync_study(study.config, study.folder, proxy.uri)
    proxy.mend()
    assert sync_study(study.config, study.folder, proxy.uri) == (2, 1)
    assert_whole(proxy.uri, study, 2)


def test_an_interrupted_trial_that_mlflow_has_lost_is_sent_again_as_far_as_it_came(
    mlflow_server: str, make: Callable[[str], Written]
) -> None:
    study = make("unfinished")
    config = study.trial(0)
    study.report(config, 1)
    sync_study(study.config, study.folder, mlflow_server)
    MlflowClient(mlflow_server).delete_run(runs(mlflow_server, study)["search-0000"].info.run_id)
    assert sync_study(study.config, study.folder, mlflow_server) == (1, 1)
    run = runs(mlflow_server, study)["search-0000"]
    assert run.info.status == "KILLED"
    assert history(mlflow_server, run) == [(1, 0.01)]
