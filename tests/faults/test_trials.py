"""What a trial may meet: it is named, it passes where it can, and no other trial suffers."""

import ctypes
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
import torch

from study.method.delta import load_delta
from study.search import driver
from study.search.trainable import ClipFitTrainable
from study.search.trial_worker import TrialWorker
from study.storage import atomic
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial import run_trial
from tests.not_none import not_none
from tests.real_study import RealStudy, statuses, untimed
from tests.settings import FEW, clipfit_trial

pytestmark = pytest.mark.timeout(600)

# Workers cannot import this file, so that what it defines travels to them itself.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

Fault = Callable[[int, int, Path], object]
"""Is called before each epoch with its number from 0, the images of a pass, the trial's folder."""
BATCH = 8


class Faulty(ClipFitTrainable):
    """The trainable of studies, with faults before the training of some trials' epochs."""

    faults: Mapping[int, Fault]
    """By trial number."""

    def setup(self, config: JsonObject, **given: Any):
        """See `ClipFitTrainable`."""
        inject(self.faults, lambda: self.worker)
        super().setup(config, **given)


def inject(faults: Mapping[int, Fault], worker: Callable[[], TrialWorker]):
    """Let the training of this process have faults before some epochs of a worker's trials."""
    from study.trial import run_trial

    train = run_trial.train_epoch

    def train_or_fail(*arguments: Any, **options: Any) -> Any:
        folder = worker().folder.path
        if (folder.parents[1] / f"broken {os.getpid()}").exists():
            raise RuntimeError("CUDA error: as before")
        fault = faults.get(worker().trial.number, lambda *_: None)
        fault(options["epoch"], options["micro_batch"] or BATCH, folder)
        return train(*arguments, **options)

    run_trial.train_epoch = train_or_fail


def fill_host():
    torch.empty(2**45)


def fill_device():
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")


def hang():
    """Hold the interpreter, so that no thread of Python's could end it."""
    ctypes.PyDLL(None).sleep(3600)


def later(happen: Callable[[], None], fitting: int = 0) -> Fault:
    """From the second epoch on, so that there is something to go on from, if more does not fit."""

    def fault(epoch: int, at_once: int, folder: Path):
        if epoch >= 1 and at_once > fitting:
            happen()

    return fault


def raises(error: Exception) -> Fault:
    def fail():
        raise error

    return later(fail)


def once(fault: Fault) -> Fault:
    """In the third epoch."""

    def first(epoch: int, at_once: int, folder: Path):
        been = folder / "been"
        if epoch == 2 and not been.exists():
            been.touch()
            fault(epoch, at_once, folder)

    return first


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def lose_device(epoch: int, at_once: int, folder: Path):
    """As a real one does: whatever comes later in the process fails as well."""
    if epoch >= 1:
        (folder.parents[1] / f"broken {os.getpid()}").touch()
        raise RuntimeError("CUDA error: an illegal memory access\nCUDA kernel errors might be late")


@dataclass
class Here:
    """A trial in this process, epoch by epoch, by the worker that a trainable has."""

    study: RealStudy
    name: str
    fault: Fault = lambda *_: None

    def __post_init__(self):
        self.folder = self.study.folder.trial(self.name)
        training = self.study.config.training
        self.config = clipfit_trial(trial_id=self.name, number=0, training=training)
        self.folder.create(self.config.model_dump(mode="json"))
        self.start()

    def start(self):
        """Begin it, or go on with it, as a new worker does."""
        self.worker = TrialWorker(self.study.folder, self.study.config)
        inject({0: self.fault}, lambda: self.worker)
        self.worker.start(self.config, {"search": {1: self.study.data}})

    def run(self) -> JsonObject:
        """Run it to its end; give the last result."""
        while not (result := self.worker.step(60))["done"]:
            pass
        return result


@pytest.fixture
def here(
    make_study: Callable[..., RealStudy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Here]:
    """Make a trial of a name, with a fault."""
    monkeypatch.setattr(run_trial, "train_epoch", run_trial.train_epoch)
    return partial(Here, make_study(tmp_path.name))


def test_a_trial_out_of_memory_goes_on_with_fewer_images_at_a_time_and_the_next_has_all_again(
    here: Callable[..., Here], caplog: pytest.LogCaptureFixture
):
    whole = here("whole")
    whole.run()
    short = here("short", later(fill_device, fitting=2))
    assert not short.run()["failed"]
    numbers = untimed(short.folder)
    assert [report["epoch"] for report in numbers] == [1, 2, 3, 4]
    assert [report.pop("micro_batch", None) for report in numbers] == [None, 2, 2, 2]
    for report, expected in zip(numbers, untimed(whole.folder), strict=True):
        for key in ("head", "scores"):
            assert report.pop(key, None) == expected.pop(key, None)
        assert report == pytest.approx(expected, rel=1e-3, abs=1e-5)
    own, other = (load_delta(t.folder.path / "delta.safetensors")[0] for t in (short, whole))
    torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-3)
    assert caplog.text.count("the epoch starts again with") == 2

    following = short.config.model_copy(update={"trial_id": "next", "number": 1})
    folder = short.study.folder.trial("next")
    folder.create(following.model_dump(mode="json"))
    short.worker.start(following, {"search": {1: short.study.data}})
    short.run()
    assert untimed(folder) == untimed(whole.folder)


NO_MEMORY = "out of memory even with one image at a time (RuntimeError: "


@pytest.mark.parametrize(
    "fault, reason, caused_by_settings",
    [
        (later(fill_host), f"{NO_MEMORY}[enforce fail at", True),
        (raises(ValueError("no\nsuch thing")), "ValueError: no such thing", True),
        (raises(OSError(5, "Input/output error")), "OSError: [Errno 5] Input/output error", False),
    ],
)
def test_a_trial_that_fails_names_its_cause_in_one_line(
    here: Callable[..., Here], fault: Fault, reason: str, caused_by_settings: bool
):
    trial = here("failing", fault)
    result = trial.run()
    assert (result["failed"], result["caused_by_settings"]) == (True, caused_by_settings)
    assert result["reason"].startswith(reason)
    assert "\n" not in result["reason"]
    assert "Traceback" in result["error"]
    assert [report["epoch"] for report in trial.folder.read_reports()] == [1]


LIMIT = 20
"""Seconds that an epoch may take here, the first of a process with its backbone included."""
FAULTS: dict[int, Fault] = {
    5: later(hang),
    6: once(later(hang)),
    8: once(lose_device),
    9: lose_device,
    10: once(later(die)),
}
SEARCH: JsonObject = {
    "trials": 12,
    "asha": None,
    "sampler": "random",
    "baselines": {
        **FEW,
        "zero-shot": {"subset": "none"},
        "clipfit": {"subset": "clipfit", "rates": {"bias": 0.002, "ln": 0.002}},
    },
}


CAUSES = {
    5: (f"no epoch ended within {LIMIT} seconds", "in hang"),
    9: (
        "study.trial.machine_faults.DeviceError: RuntimeError: CUDA error: an illegal",
        "in lose_device",
    ),
}
"""How the reason of each trial that fails begins, and what is in its error."""


@pytest.mark.long
@pytest.mark.ci
def test_faults_are_recorded_with_their_causes_and_all_else_ends_as_without_them(
    make_study: Callable[..., RealStudy], ray_cluster: None, monkeypatch: pytest.MonkeyPatch
):
    sound = make_study("sound", search=SEARCH)
    sound.search()
    resources = {"max_concurrent": 1, "max_failures": 1, "max_epoch_seconds": LIMIT}
    faulty = make_study("faulty", search=SEARCH, resources=resources)
    monkeypatch.setattr(driver, "ClipFitTrainable", type("Faulty", (Faulty,), {"faults": FAULTS}))
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 1.0)
    faulty.search()

    assert statuses(sound.folder) == {"finished": 12}
    pairs = zip(faulty.folder.trials(), sound.folder.trials(), strict=True)
    for number, (trial, other) in enumerate(pairs):
        assert trial.read_config() == other.read_config()
        assert not (trial.path / "hang.txt").exists()
        end = not_none(trial.read_end())
        if number in CAUSES:
            reason, error = CAUSES[number]
            assert (end.status, end.epochs) == ("failed", 1)
            assert str(end.reason).startswith(reason)
            assert error in str(end.error)
            continue
        assert end.status == "finished"
        assert untimed(trial) == untimed(other)
        for delta in trial.path.glob("delta*.safetensors"):
            assert delta.read_bytes() == (other.path / delta.name).read_bytes()
    starts = Counter(trial for event, trial, _ in faulty.heard.events if event == "started")
    assert set(starts.values()) == {1, 2}
    in_another_process = {trial for trial, count in starts.items() if count == 2}
    assert in_another_process == {f"search-{n:04d}" for n in (5, 6, 8, 9, 10)}


@pytest.mark.long
def test_a_worker_that_ray_kills_for_memory_is_recorded_with_that_cause(
    tiny_backbone: Path, tmp_path: Path
):
    script = Path(__file__).with_name("low_memory.py")
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    memory = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "200"}
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(tiny_backbone)],
        env={**os.environ, **memory, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    ends = [not_none(trial.read_end()) for trial in StudyFolder(tmp_path / "low").trials()]
    assert len(ends) == 4
    for end in ends:
        assert (end.status, end.caused_by_settings) == ("failed", True)
        assert str(end.reason).startswith("out of memory: Ray killed its worker")
        assert "Memory usage" in str(end.error)
        assert "low_memory.py" not in str(end.error), "commands of processes are reported"
