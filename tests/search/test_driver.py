"""Real Ray: trials are stopped, fail, lose their workers, and nothing of it is lost or doubled."""

import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from study.config.search_section import AshaConfig
from study.config.trial_settings import TrialSettings
from study.search.driver import RepeatingScheduler, make_scheduler
from study.selection.candidates import rank_finished_trials
from study.storage.trial_folder import End
from study.trial import TrialConfig
from tests.tiny_study import kill_worker, statuses

from .conftest import UNHEARD

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]


def test_stopped_trials_are_recorded_and_baselines_are_never_stopped(searched: Any) -> None:
    assert statuses(searched.folder).keys() == {"finished", "stopped"}
    for trial in searched.folder.trials():
        end, reports = trial.read_end(), trial.read_reports()
        assert end is not None
        assert [r["epoch"] for r in reports] == list(range(1, end.epochs + 1)) or end.epochs == 0
        assert not (trial.path / "state.safetensors").exists()
        assert end.seconds == pytest.approx(sum(r["seconds"] for r in reports))
        if trial.read_config()["arm"] == "baseline":
            assert end.status == "finished"
        if end.status == "stopped":
            assert end.epochs == 3
            assert end.reason == "successive halving at epoch 3"


def test_observers_hear_of_every_start_epoch_and_end(searched: Any) -> None:
    for trial in searched.folder.trials():
        own = [event for event in searched.heard.events if event[1] == trial.trial_id]
        assert own == [
            ("started", trial.trial_id, None),
            *(("reported", trial.trial_id, r["epoch"]) for r in trial.read_reports()),
            ("ended", trial.trial_id, trial.read_end().status),
        ]


def test_the_study_goes_on_without_what_failed(troubled: Any) -> None:
    assert statuses(troubled.folder) == {"finished": 6, "failed": 2}
    labels = [judged.config.label for judged in rank_finished_trials(troubled.folder)]
    assert "diverging" not in labels
    assert len(labels) == 6


def test_an_observer_at_fault_does_not_end_the_study(troubled: Any) -> None:
    assert not troubled.heard.at.keys() & set(UNHEARD), "nothing was raised"
    for _, trial_id, _ in UNHEARD:
        assert troubled.folder.trial(trial_id).read_end().status == "finished"


@pytest.mark.long
def test_a_worker_that_dies_too_often_fails_its_trial_alone(make_study: Any) -> None:
    study = make_study(
        "dying",
        search={"asha": None, "sampler": "random"},
        resources={"max_concurrent": 1, "max_failures": 0},
    )
    study.heard.at["reported", "search-0001", 1] = kill_worker
    study.search()
    assert statuses(study.folder) == {"finished": 8, "failed": 1}
    assert study.folder.trial("search-0001").read_end().reason == "its worker died"


def test_successive_halving_remembers_trials_that_ended_before(searched: Any) -> None:
    ended = [
        t for t in searched.folder.trials() if t.read_config()["arm"] in ("search", "clipfit-tuned")
    ]
    history = [(TrialConfig.model_validate(t.read_config()), t.read_reports()) for t in ended]

    class Trial:
        trial_id = "new"
        config = {"arm": "search", "settings": TrialSettings(subset="ln").model_dump()}  # noqa: RUF012

    for known, expected in ((history, "STOP"), ([], "CONTINUE")):
        scheduler = make_scheduler(AshaConfig(), 4, known)
        scheduler.on_trial_add(None, Trial())
        decision = scheduler.on_trial_result(None, Trial(), {"epoch": 3, "score": 0.0})
        assert decision == expected


@pytest.mark.parametrize(("trial_id", "stops"), [("old", [2, 3]), ("whole", []), ("new", [])])
def test_a_trial_stops_where_it_had_been_stopped_before(trial_id: str, stops: list[int]) -> None:
    scheduler = RepeatingScheduler(
        {"old": End("stopped", 2, 1.0), "whole": End("finished", 4, 1.0)}
    )
    trial = SimpleNamespace(config={"trial_id": trial_id})
    decisions = {e: scheduler.on_trial_result(None, trial, {"epoch": e}) for e in (1, 2, 3)}
    assert [epoch for epoch, decision in decisions.items() if decision == "STOP"] == stops


def test_ctrl_c_is_nobodys_after_a_stage(searched: Any) -> None:
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)


KILLED = """
import signal
from study.config.schema import StudyConfig
from study.search.driver import ray_session
from study.workflow.signals import handle_hang_up, interrupt

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with handle_hang_up(interrupt), ray_session(StudyConfig()):
        signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ray_leaves_to_the_study_what_kill_does() -> None:
    command = [sys.executable, "-c", KILLED]
    assert subprocess.check_output(command, text=True) == "interrupted\n"


KILLED_AS_RAY_STARTS = """
import os, signal, threading, time
from study.config.schema import StudyConfig
from study.search.driver import ray_session
from study.workflow.signals import handle_hang_up, interrupt

def kill_once(own):
    while signal.getsignal(signal.SIGTERM) is own:  # until Ray has put its own in its place
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with handle_hang_up(interrupt):
        own = signal.getsignal(signal.SIGTERM)
        threading.Thread(target=kill_once, args=(own,)).start()
        with ray_session(StudyConfig()):
            print("Ray runs")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_kill_interrupts_a_study_also_while_ray_starts() -> None:
    command = [sys.executable, "-c", KILLED_AS_RAY_STARTS]
    assert subprocess.check_output(command, text=True) == "interrupted\n"


GARBAGE = """
import gc, threading, time, ray
from study.config.schema import StudyConfig
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
with ray_session(StudyConfig()):
    references = [ray.put(0) for _ in range(20000)]
    gc.set_threshold(5)
    threading.Thread(target=leave_garbage, daemon=True).start()
references.clear()
assert gc.isenabled()
print("lives")
"""


@pytest.mark.long
def test_garbage_of_ray_in_another_thread_does_not_end_the_driver_as_ray_shuts_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lives\n", done.stderr
    assert done.returncode == 0
