"""Faults of MLflow's server, made by a real proxy before a real one: nothing lost, nothing doubled.

Servers that are told to hang would do so for ever, so the tests end only if waits are bounded.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.config.sweep import load_sweep
from study.errors import ConfigError, TrackingError
from study.run import main
from study.tracking.mlflow import best_runs, server
from study.tracking.mlflow import mirror as mirror_module
from study.tracking.mlflow.best_runs import best_configurations
from study.tracking.mlflow.mirror import NOT_SENT, STUDY_RUN, sync_to_mlflow
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.mlflow.server import connect, is_refusal
from study.trial import TrialConfig
from study.workflow.run_sweep import check_sweep
from tests.written_study import EPOCHS, Written, assert_whole, runs, started

from .proxy import Proxy, wait_until

SECRET = "s3cr3t-passw0rd"


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Written]:
    return lambda name: Written(tmp_path, name)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits that are bounded."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setattr(mirror_module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 20.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten those further that a test waits out."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for module in (server, best_runs):
        monkeypatch.setattr(module, "ANSWERS_WITHIN", 2.0)


def train(study: Written, tracker: MlflowTracker, *numbers: int) -> None:
    """Write trials, and tell the tracker of each as a study does."""
    for number in numbers:
        study.whole(number)
        tracker.trial_started(config_of(study, number))


def config_of(study: Written, number: int) -> TrialConfig:
    return TrialConfig.model_validate(study.folder.trial(f"search-{number:04d}").read_config())


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "fault", ["500", "503", "404", "hang", pytest.param("drip", marks=pytest.mark.long)]
)
def test_a_server_that_does_not_answer_at_the_start_is_asked_once_and_told(
    proxy: Proxy, fault: str, tmp_path: Path
) -> None:
    proxy.fail(fault)
    address = proxy.uri.replace("//", f"//me:{SECRET}@")
    with pytest.raises(TrackingError, match=r"127.0.0.1:\d+ does not answer \(") as caught:
        connect(address, "any")
    assert len(proxy.asked) == 1
    assert SECRET not in str(caught.value)
    with pytest.raises(TrackingError, match="does not give runs") as caught:
        best_configurations(address, study=None, where=None, top=1, storage=tmp_path)
    assert SECRET not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_database_that_cannot_be_opened_is_told_at_once_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="unable to open database file"):
        connect(f"sqlite:///{tmp_path}", "any")


@pytest.mark.usefixtures("hasty")
def test_a_server_that_hangs_is_asked_once_for_all_studies_of_a_sweep(
    proxy: Proxy, tmp_path: Path
) -> None:
    path = tmp_path / "three.yaml"
    path.write_text("sweep: {seed: [1, 2, 3]}\nsearch: {trials: 8}\n")
    given = [f"tracking.uri={proxy.uri}", f"storage={tmp_path}", "data.augment=false"]
    proxy.fail("hang")
    with pytest.raises(ConfigError, match=r"and 2 more: tracking: .* does not answer"):
        check_sweep(load_sweep(path, given))
    assert len(proxy.asked) == 1


def test_a_server_that_goes_while_a_study_begins_leaves_its_run_to_be_completed(
    proxy: Proxy, make: Callable[[str], Written]
) -> None:
    study = make("begun")
    proxy.fail("500", where="log-batch")
    with pytest.raises(TrackingError, match="does not take a run"):
        started(study, proxy.uri)
    proxy.mend()
    study.whole(0)
    assert started(study, proxy.uri).close(finished=True) == {}
    assert_whole(proxy.uri, study, 1)


@pytest.mark.long
def test_a_call_whose_answer_is_lost_doubles_nothing(
    proxy: Proxy, make: Callable[[str], Written]
) -> None:
    study = make("lost")
    sent: set[tuple[str, bytes]] = set()

    def lose_the_first(path: str, body: bytes) -> str:
        if not body or "search" in path or (path, body) in sent:
            return ""
        sent.add((path, body))
        return "lost"

    proxy.judge = lose_the_first
    for _ in range(2):  # the creation of the parent, and its parameters
        with pytest.raises(TrackingError, match="does not take a run"):
            started(study, proxy.uri)
    tracker = started(study, proxy.uri)
    train(study, tracker, 0, 1)
    assert tracker.close(finished=False).keys() <= {STUDY_RUN}
    closed = False
    while not closed:
        with suppress(TrackingError):
            closed = not started(study, proxy.uri).close(finished=True)
    assert len(sent) > 15
    assert_whole(proxy.uri, study, 2)


def test_a_server_that_is_down_is_not_hammered_and_gets_all_when_it_is_back(
    proxy: Proxy,
    make: Callable[[str], Written],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = make("down")
    tracker = started(study, proxy.uri.replace("//", f"//me:{SECRET}@"))
    proxy.fail("500")
    waited = threading.Event()
    monkeypatch.setattr(tracker._mirror._stop, "wait", lambda seconds: waited.wait())
    train(study, tracker, 0, 1, 2)
    wait_until(lambda: tracker._mirror._failing)
    train(study, tracker, 3, 4, 5)
    assert len(proxy.asked) == 1
    proxy.mend()
    waited.set()
    assert tracker.close(finished=True) == {}
    assert_whole(proxy.uri, study, 6)
    assert [record.message for record in caplog.records if "MLflow" in record.message] == [
        caplog.records[0].message,
        "MLflow takes results again",
    ]
    assert SECRET not in caplog.text


@pytest.mark.long
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", ["500", "hang", "drip"])
def test_a_server_that_stays_away_leaves_all_to_be_sent_later(
    proxy: Proxy, make: Callable[[str], Written], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 0.5)
    study = make(f"away-{fault}")
    tracker = started(study, proxy.uri)
    proxy.fail(fault)
    train(study, tracker, 0, 1, 2)
    assert tracker.close(finished=True).keys() == {"search-0000", "search-0001", "search-0002"}
    with pytest.raises(TrackingError, match="does not answer"):
        sync_to_mlflow(study.study, proxy.uri)
    proxy.mend()
    study.conclude()
    assert sync_to_mlflow(study.study, proxy.uri).trials == 3
    assert_whole(proxy.uri, study, 3)


@pytest.mark.long
def test_a_server_that_is_slow_is_waited_for_no_longer_than_it_may_take(
    proxy: Proxy, make: Callable[[str], Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "LONGEST_SECONDS", 1.0)
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 60.0)
    study = make("slow")
    tracker = started(study, proxy.uri)
    proxy.slow_seconds = 0.3
    proxy.fail("slow")
    train(study, tracker, *range(12))
    unsent = tracker.close(finished=True)
    assert len(unsent) > 6
    assert set(unsent.values()) == {NOT_SENT}
    proxy.mend()
    study.conclude()
    assert sync_to_mlflow(study.study, proxy.uri).trials == 12
    assert_whole(proxy.uri, study, 12)


@pytest.mark.long
def test_a_report_that_is_not_taken_in_time_is_sent_later(
    proxy: Proxy, make: Callable[[str], Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEVERAL_WITHIN", 2.0)
    study = make("report")
    tracker = started(study, proxy.uri)
    train(study, tracker, 0)
    (study.folder.path / "report.html").write_text("the report")
    study.conclude()
    proxy.fail("drip", where="report.html")
    unsent = tracker.close(finished=True)
    assert unsent.keys() == {STUDY_RUN}
    assert runs(proxy.uri, study)[""].info.status == "RUNNING"
    proxy.mend()
    monkeypatch.setattr(server, "SEVERAL_WITHIN", 20.0)
    sync_to_mlflow(study.study, proxy.uri)
    assert_whole(proxy.uri, study, 1)


def test_trials_that_mlflow_refuses_stop_no_other_and_are_named(
    mlflow_server: str,
    make: Callable[[str], Written],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = make("refused")
    begun = [study.trial(number) for number in range(3)]
    assert started(study, mlflow_server).close(finished=False) == {}
    client = MlflowClient(mlflow_server)
    deleted = runs(mlflow_server, study)["search-0000"].info.run_id
    client.delete_run(deleted)
    trials = [study.folder.trial(f"search-{number:04d}") for number in range(3)]
    other = begun[1].settings.model_copy(update={"rates": {"ln": 0.5}})
    conflicting = begun[1].model_copy(update={"settings": other})
    (trials[1].path / "mlflow.json").unlink()
    (trials[1].path / "config.json").write_text(conflicting.model_dump_json())
    (trials[2].path / "reports.jsonl").write_text("{no json}\n")

    caplog.clear()
    tracker = started(study, mlflow_server)
    for config in begun[:2]:
        for epoch in range(1, EPOCHS + 1):
            tracker.trial_reported(config, epoch, study.report(config, epoch))
        study.end(config)
    train(study, tracker, 3, 4)
    lacking = tracker.close(finished=True)
    assert {trial: reason.partition(":")[0] for trial, reason in lacking.items()} == {
        "search-0000": "RestException",
        "search-0001": "RestException",
        "search-0002": "LedgerError",
    }
    assert deleted in lacking["search-0000"]
    assert "ln_lr" in lacking["search-0001"]
    assert "reports.jsonl is damaged" in lacking["search-0002"]
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
        f"MLflow refuses search-0000, the others go on: {lacking['search-0000']}"
    ]
    found = runs(mlflow_server, study)
    for trial in ("", "search-0003", "search-0004"):
        assert found[trial].info.status == "FINISHED"

    study.conclude()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setattr("study.workflow.outputs.write_outputs", lambda folder: None)
    assert main(["sync", "refused", f"storage={study.folder.path.parent}"]) == 2
    told = capsys.readouterr().err
    assert f"  search-0001: {lacking['search-0001']}" in told
    assert f"  search-0002: {lacking['search-0002']}" in told


@pytest.mark.long
def test_a_trial_that_a_server_fails_at_again_and_again_holds_up_no_other(
    proxy: Proxy,
    make: Callable[[str], Written],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mirror_module, "FINAL_SECONDS", 1.0)
    study = make("poison")
    study.conclude()
    tracker = started(study, proxy.uri)
    proxy.fail("500", where="search-0001")
    train(study, tracker, *range(3))
    assert tracker.close(finished=True).keys() == {"search-0001"}
    assert len([r for r in caplog.records if "does not take" in r.message]) == 1
    study.whole(3)
    with pytest.raises(TrackingError, match=r"lacks 1 run:\n  search-0001: "):
        sync_to_mlflow(study.study, proxy.uri)
    found = runs(proxy.uri, study)
    assert found.keys() == {"", *(f"search-{n:04d}" for n in (0, 2, 3))}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    proxy.mend()
    assert sync_to_mlflow(study.study, proxy.uri).trials == 4
    assert_whole(proxy.uri, study, 4)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('400 {"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', True),
        ('404 {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}', True),
        ('400 {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "no"}', True),
        ("413", True),
        ("401", False),
        ('403 {"error_code": "PERMISSION_DENIED", "message": "no"}', False),
        ("404", False),
        ("408", False),
        ("429", False),
        ("500", False),
        ('500 {"error_code": "INTERNAL_ERROR", "message": "no"}', False),
        ("502", False),
        ("503", False),
    ],
)
def test_what_is_refused_is_told_from_a_server_at_fault(
    proxy: Proxy, mlflow_server: str, tmp_path: Path, answer: str, expected: bool
) -> None:
    client = MlflowClient(proxy.uri)
    run = client.create_run("0").info.run_id
    (tmp_path / "file").write_text("text")
    proxy.fail(answer, where="artifacts/" if answer == "413" else "")  # a file that is too large
    with pytest.raises(Exception, match=r".") as caught:
        client.log_artifact(run, str(tmp_path / "file"))
    assert is_refusal(caught.value) is expected
