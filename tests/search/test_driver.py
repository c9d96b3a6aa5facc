"""Real Ray: trials are stopped, fail, lose their workers, and nothing of it is lost or doubled."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import ray
from ray import tune

from study.search import driver
from study.search.candidates import rank_finished_trials
from study.search.trainable import ClipFitTrainable
from study.storage.atomic import StorageError
from tests.not_none import not_none
from tests.real_study import RealStudy, kill_worker, statuses, untimed
from tests.settings import FEW

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

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


BROKEN = {
    **FEW,
    "zero-shot": {"subset": "none"},
    "clipfit": {"subset": "clipfit", "rates": {"bias": 0.002, "ln": 0.002}, "distill_weight": 8},
    "diverging": {"subset": "ln", "rates": {"ln": 1000}},
}
UNHEARD: tuple[tuple[str, str, Any], ...] = (
    ("started", "search-0000", None),
    ("reported", "search-0004", 2),
    ("ended", "search-0005", "finished"),
)
"""Events at which the observer fails."""


# A worker that goes back to the driver after each epoch; Ray names its process by the class.
EachEpoch = type("ClipFitTrainable", (ClipFitTrainable,), {"step_seconds": 0})


@pytest.mark.long
@pytest.mark.ci
def test_a_study_survives_failed_trials_a_killed_worker_and_an_observer_at_fault(
    make_study: Callable[..., RealStudy], searched: RealStudy, monkeypatch: pytest.MonkeyPatch
):
    search = {"asha": None, "baselines": BROKEN, "sampler": "random"}
    study = make_study("troubled", search=search)
    diverges: Any = study.config.search.baselines["diverging"]
    diverges.rates["ln"] = 1e30  # which a configuration is refused for
    clipfit, diverging = (study.folder.trial(f"search-{n:04d}") for n in (1, 2))
    study.heard.at["reported", clipfit.trial_id, 2] = kill_worker
    for event in UNHEARD:
        study.heard.at[event] = Mock(side_effect=ConnectionError("no server"))
    monkeypatch.setattr(driver, "ClipFitTrainable", EachEpoch)
    study.search()
    assert not study.heard.at, "something did not happen"
    assert statuses(study.folder) == {"finished": 7, "failed": 1}
    labels = {trial.config.label for trial in rank_finished_trials(study.folder)}
    assert len(labels - {"diverging"}) == len(labels) == 7
    error = str(not_none(diverging.read_end()).error)
    assert "Traceback" in error
    assert "NonFiniteLossError" in error

    events = [(what, epoch) for what, name, epoch in study.heard.events if name == clipfit.trial_id]
    assert [epoch for what, epoch in events if what == "reported"] == [1, 2, 3, 4]
    assert events.count(("started", None)) == 2, "its worker was not killed"
    # The other study also scores where it may stop a trial.
    *own, own_last = untimed(clipfit)
    *others, last = untimed(searched.folder.trial(clipfit.trial_id))
    assert [one["train_loss"] for one in own] == [one["train_loss"] for one in others]
    assert own_last == last


@pytest.mark.parametrize(
    "error, kind",
    [(OSError(errno.ENOSPC, "No space left"), StorageError), (ConnectionError(), ConnectionError)],
)
def test_a_full_disk_of_tunes_own_files_is_a_fault_of_storage(
    make_study: Callable[..., RealStudy],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    kind: type[Exception],
):
    monkeypatch.setattr(tune.Tuner, "fit", Mock(side_effect=error))
    with pytest.raises(kind):
        make_study(kind.__name__).search()


def test_ctrl_c_is_nobodys_after_a_stage(searched: Any):
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


KILLED_AS_RAY_STARTS = """
import os, signal, threading
from study.search.driver import ray_session
from study.commands.signals import handle_signals, interrupt

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with handle_signals(interrupt):
        with ray_session() as start:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
            start.result()
            print("Ray runs")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.long
@pytest.mark.ci
def test_kill_interrupts_a_study_also_while_ray_starts():
    command = [sys.executable, "-c", KILLED_AS_RAY_STARTS]
    assert subprocess.check_output(command, text=True) == "interrupted\n"


GARBAGE = """
import gc, threading, time, ray
from study.config.schema import StudyConfig
from study.search.candidates import rank_finished_trials
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
def test_garbage_of_ray_in_another_thread_does_not_end_the_driver_as_ray_shuts_down():
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lives\n", done.stderr
    assert done.returncode == 0
