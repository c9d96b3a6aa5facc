"""Faults of MLflow's server, made by a real proxy before a real one: nothing lost, nothing twice.

Servers that are asked to hang would do so for ever, so the tests end only if waits are bounded.
"""

import re
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.errors import TrackingError
from study.tracking.mlflow import server
from study.tracking.mlflow import sync as sync_module
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.mlflow.server import connect, is_refusal
from tests.study_writer import MakeStudy, StudyWriter
from tests.tracking.mlflow.records import assert_whole, runs, started, sync

from .proxy import Proxy, wait_until

SECRET = "s3cr3t-passw0rd"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch):
    """Shorten the waits that are bounded."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setattr(sync_module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(sync_module, "FINAL_SECONDS", 20.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch):
    """Shorten those further that a test waits out."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(server, "ANSWERS_WITHIN", 5.0)


def train(study: StudyWriter, tracker: MlflowTracker, *numbers: int):
    """Write trials, and tell the tracker of each as a study does."""
    for number in numbers:
        tracker.trial_changed(study.whole(number).trial_id)


def send_all_later(study: StudyWriter, proxy: Proxy):
    """Let the server be whole again, and send it what it lacks."""
    proxy.mend()
    study.conclude()
    sync(study, proxy.uri)
    assert_whole(proxy.uri, study)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "fault", ["500", "404", "hang", pytest.param("drip", marks=pytest.mark.long)]
)
def test_a_server_that_does_not_answer_at_the_start_is_asked_once_and_reported(
    proxy: Proxy, fault: str
):
    proxy.fail(fault)
    address = proxy.uri.replace("//", f"//me:{SECRET}@")
    with pytest.raises(TrackingError, match=r"127.0.0.1:\d+ does not respond \(") as caught:
        connect(address, "any")
    assert len(proxy.asked) == 1
    assert SECRET not in str(caught.value)


def test_a_server_that_is_down_is_not_hammered_and_gets_all_when_it_is_back(
    proxy: Proxy,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    study = make("down")
    tracker = started(study, proxy.uri.replace("//", f"//me:{SECRET}@"))
    wait_until(lambda: runs(proxy.uri, study))
    monkeypatch.setattr(sync_module, "RETRY_SECONDS", 1.0)
    proxy.fail("500")
    train(study, tracker, 0, 1, 2)
    wait_until(lambda: proxy.asked)
    train(study, tracker, 3, 4, 5)
    assert len(proxy.asked) == 1
    proxy.mend()
    assert tracker.close(finished=True).missing == ""
    assert_whole(proxy.uri, study)
    first, *others = (record.message for record in caplog.records if "MLflow" in record.message)
    assert first.startswith("results cannot be sent to MLflow, retrying: ")
    assert others == ["results are being sent to MLflow again"]
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "fault", ["500", *(pytest.param(fault, marks=pytest.mark.long) for fault in ("hang", "drip"))]
)
def test_a_server_that_stays_away_holds_up_no_trial_and_leaves_all_to_be_sent_later(
    proxy: Proxy, make: MakeStudy, monkeypatch: pytest.MonkeyPatch, fault: str
):
    study = make(f"away-{fault}")
    tracker = started(study, proxy.uri)
    proxy.fail(fault)
    began = time.monotonic()
    train(study, tracker, 0, 1, 2)
    assert time.monotonic() - began < 0.5, "a trial waits for the server"
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "FINAL_SECONDS", 0.5)
        missing = tracker.close(finished=True).missing
    assert proxy.asked, "nothing was tried"
    assert {f"search-{number:04d}" for number in range(3)} <= set(
        re.findall(r"search-\d+", missing)
    )
    with pytest.raises(TrackingError, match="does not respond"):
        sync(study, proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # the server is slow and not away
    send_all_later(study, proxy)


def test_trials_that_mlflow_refuses_stop_no_other_and_are_named(
    mlflow_server: str, make: MakeStudy, caplog: pytest.LogCaptureFixture
):
    study = make("refused")
    begun = [study.trial(number) for number in range(2)]
    assert started(study, mlflow_server).close(finished=False).missing == ""
    conflicting, damaged = (study.folder.trial(config.trial_id).path for config in begun)
    other = begun[0].settings.model_copy(update={"rates": {"ln": 0.5}})
    config = begun[0].model_copy(update={"settings": other})
    (conflicting / "config.json").write_text(config.model_dump_json())
    (damaged / "reports.jsonl").write_text("{no json}\n")

    caplog.clear()
    tracker = started(study, mlflow_server)
    study.report(begun[0], 1)
    tracker.trial_changed(begun[0].trial_id)
    train(study, tracker, 3, 4)
    missing = tracker.close(finished=True).missing
    assert "2 runs:" in missing
    refused = re.search(r"  search-0000: RestException: .*ln_lr.*", missing)
    assert refused
    assert re.search(r"  search-0001: FolderError: .*reports.jsonl is damaged", missing)
    sent = runs(mlflow_server, study)
    for trial in ("", "search-0003", "search-0004"):
        assert sent[trial].info.status == "FINISHED"

    study.conclude()
    with pytest.raises(TrackingError) as again:
        sync(study, mlflow_server)
    assert refused[0] in str(again.value)
    assert "  search-0001: " in str(again.value)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "answer, expected",
    [
        ('400 {"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', True),
        ('404 {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}', True),
        ("413", True),
        ("401", False),
        ("429", False),
        ("500", False),
        ('403 {"error_code": "PERMISSION_DENIED", "message": "no"}', False),
        ("404", False),
    ],
)
def test_what_is_refused_is_reported_from_a_server_at_fault(
    proxy: Proxy, mlflow_server: str, tmp_path: Path, answer: str, expected: bool
):
    client = MlflowClient(proxy.uri)
    # Of its own, since the server's first experiment keeps its artifacts where its store was made.
    run = client.create_run(client.create_experiment(f"refused {answer}")).info.run_id
    (tmp_path / "file").write_text("text")
    proxy.fail(answer, where="artifacts/" if answer == "413" else "")  # a file that is too large
    with pytest.raises(Exception, match=r".") as caught:
        client.log_artifact(run, str(tmp_path / "file"))
    assert is_refusal(caught.value) is expected
