"""Real Ray: trials are stopped, fail, lose their workers, and nothing of it is lost or doubled."""

import errno
import subprocess
import sys
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from ray import tune

from study.search.observers import notify
from study.storage.atomic import StorageError
from tests.real_study import Listener

from .conftest import MakeStudy

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_stopped_trials_are_recorded_and_baselines_are_never_stopped(searched: Any):
    stopped = set()
    for trial in searched.folder.trials():
        end, reports = trial.read_end(), trial.read_reports()
        assert [r["epoch"] for r in reports if r["epoch"]] == list(range(1, end.epochs + 1))
        assert not (trial.path / "state.safetensors").exists()
        assert end.seconds == pytest.approx(sum(report["seconds"] for report in reports))
        if end.status == "stopped":
            stopped.add((end.epochs, end.reason))
            assert trial.read_config()["group"] != "baseline"
    assert stopped == {(3, "successive halving at epoch 3")}


def test_observers_hear_of_every_start_score_and_end_with_all_metrics(searched: Any):
    for trial in searched.folder.trials():
        reports = {report["epoch"]: report for report in trial.read_reports()}
        scored = [epoch for epoch, report in reports.items() if "val_score" in report]
        first, *heard, last = (one for one in searched.heard.events if one[1] == trial.trial_id)
        assert first == ("started", trial.trial_id, None)
        assert last == ("ended", trial.trial_id, trial.read_end().status)
        assert {kind for kind, *_ in heard} <= {"reported"}
        epochs = [epoch for *_, epoch in heard]
        assert epochs == sorted({*epochs, *scored}), "short epochs without a score may be left out"
        for epoch in epochs:
            report = reports[epoch]
            metrics = searched.heard.metrics[trial.trial_id, epoch]
            assert metrics.items() <= report.items()
            assert report.keys() - metrics.keys() <= {"epoch", "ended_at", "head", "scores"}


def test_an_observer_that_raises_ends_nothing_and_the_next_one_hears(
    caplog: pytest.LogCaptureFixture,
):
    faulty, hears = (create_autospec(Listener, instance=True) for _ in range(2))
    faulty.trial_ended.side_effect = ValueError("a mistake of another package")
    notify([faulty, hears], lambda observer: observer.trial_ended(1, 2, 3))  # type: ignore[arg-type]
    hears.trial_ended.assert_called_once_with(1, 2, 3)
    assert "failed; the study continues" in caplog.text


@pytest.mark.parametrize(
    "error, kind",
    [(OSError(errno.ENOSPC, "No space left"), StorageError), (ConnectionError(), ConnectionError)],
)
def test_a_full_disk_of_tunes_own_files_is_a_fault_of_storage(
    make_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    kind: type[Exception],
):
    monkeypatch.setattr(tune.Tuner, "fit", Mock(side_effect=error))
    with pytest.raises(kind):
        make_study(kind.__name__).search()


GARBAGE = """
import gc, threading, time, ray
from study.search.driver import ray_session

shutdown, begun, freed = ray.shutdown, threading.Event(), threading.Event()

def begin():
    begun.set()
    freed.wait()
    shutdown()

def leave_garbage():
    begun.wait()
    while references:
        cycle = [references.pop()]
        cycle.append(cycle)
        freed.set()
        time.sleep(0.0001)

ray.shutdown = begin
with ray_session() as start:
    start.result()
    references = [ray.put(0) for _ in range(20000)]
    gc.set_threshold(5)
    threading.Thread(target=leave_garbage, daemon=True).start()
references.clear()
assert gc.isenabled()
print("lives")
"""


@pytest.mark.long
def test_garbage_in_another_thread_does_not_end_the_driver():
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lives\n", done.stderr
    assert done.returncode == 0
