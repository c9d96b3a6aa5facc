"""Disks that are full, read-only, or gone for a while: waited for, or told by name."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage import atomic
from study.storage.atomic import StorageError, write_atomically
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, TrialFolder
from tests.clock import Clock

from .conftest import Disk

WORDS = "x" * 5000
REPORT = {"epoch": 1, "val_score": 0.5}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which storage is waited for, for short."""
    clock = Clock()
    monkeypatch.setattr(atomic, "time", clock)
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(atomic, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(atomic, "RECOVERS_WITHIN", 0.2)
    return clock


@pytest.fixture
def trial(disk: Disk) -> TrialFolder:
    """A trial with one report, on the small disk."""
    study = StudyFolder(disk.path / "runs" / "mine")
    study.create("seed: 1\n", {})
    trial = study.trial("search-0000")
    trial.create({"number": 0})
    trial.append_report(REPORT)
    return trial


def test_a_full_disk_is_waited_for(
    disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = disk.path / "file"
    write_atomically(path, "old")
    disk.fill()
    clock.after(0.2, disk.free)
    write_atomically(path, WORDS)
    assert path.read_text() == WORDS
    assert f"{path} cannot be used: No space left on device; trying for 1 seconds" in caplog.text
    assert "can be used again" in caplog.text


def test_a_report_that_did_not_fit_is_there_once_or_not_at_all(
    disk: Disk, trial: TrialFolder, clock: Clock
) -> None:
    long = {"epoch": 2, "text": "y" * 9000}
    disk.fill()
    with pytest.raises(StorageError, match=r"reports\.jsonl .*No space left"):
        trial.append_report(long)
    assert trial.read_reports() == [REPORT]
    clock.now += 0.3  # so that it is another outage
    clock.after(0.2, disk.free)
    trial.append_report(long)
    assert trial.read_reports() == [REPORT, long]
    assert (trial.path / "reports.jsonl").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "read", [lambda t: t.read_reports(), lambda t: t.read_config(), lambda t: t.read_end()]
)
def test_what_lies_on_a_share_that_is_gone_is_waited_for_and_never_taken_for_missing(
    disk: Disk, trial: TrialFolder, clock: Clock, read: Callable[[TrialFolder], object]
) -> None:
    trial.write_end(End("finished", 1, 1.0))
    before = read(trial)
    disk.take_away()
    clock.after(0.2, disk.bring_back)
    assert read(trial) == before


def test_nothing_is_written_beside_a_share_that_is_gone(
    disk: Disk, trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudyFolder(trial.path.parent.parent)
    other = study.trial("search-0001")
    disk.take_away()
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.0)
    for write in (
        lambda: other.create({"number": 1}),
        lambda: trial.append_report(REPORT),
        lambda: trial.write("state.safetensors", b"state"),
        lambda: study.write_json("candidates.json", []),
    ):
        with pytest.raises(StorageError, match="within 0 seconds: No such file or directory"):
            write()
    assert not any(disk.path.iterdir())
    disk.bring_back()
    other.create({"number": 1})
    assert len(list(study.trials())) == 2


def test_a_trial_that_was_never_begun_is_missing_at_once(trial: TrialFolder) -> None:
    other = TrialFolder(trial.path.with_name("search-0007"))
    assert (other.read_end(), other.read_reports()) == (None, [])


def test_a_read_only_folder_is_told_at_once(
    disk: Disk, trial: TrialFolder, caplog: pytest.LogCaptureFixture
) -> None:
    study = StudyFolder(trial.path.parent.parent)
    disk.allow_writing(False)
    with pytest.raises(StorageError, match=r"search-0000/.* cannot be used: Read-only file system"):
        trial.write_end(End("finished", 1, 1.0))
    with pytest.raises(StorageError, match=r"\.lock cannot be used: Read-only"), study.locked():
        pytest.fail("a study that cannot be written")
    assert not caplog.text  # nothing was waited for


def test_a_file_that_may_not_grow_is_told_at_once(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from study.storage.atomic import StorageError, write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except StorageError as error: print(error)"
    )
    path = tmp_path / "file"
    write_atomically(path, "old")
    told = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{path} cannot be used: {os.strerror(errno.EFBIG)}\n"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
