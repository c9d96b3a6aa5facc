"""Disks that are full, read-only, or gone for a while: waited for, or reported by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ray.tune.experiment import Trial

from study.search.scheduler import StudyScheduler
from study.search.searcher import Round, StudySearcher
from study.search.study_callback import StudyCallback
from study.storage import atomic
from study.storage.atomic import StorageError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, TrialFolder
from tests.clock import Clock
from tests.study_writer import StudyWriter

from .conftest import Disk

REPORT = {"epoch": 1, "val_score": 0.5}
END = End("finished", 1, 1.0)


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
def study(disk: Disk) -> StudyFolder:
    """A study with a trial of one report, on the small disk."""
    study = StudyFolder(disk.path / "runs" / "mine")
    study.create("seed: 1\n", {})
    trial = study.trial("search-0000")
    trial.create({"number": 0})
    trial.append_reports(REPORT)
    return study


@pytest.fixture
def trial(study: StudyFolder) -> TrialFolder:
    return study.trial("search-0000")


def test_what_does_not_fit_on_a_full_disk_is_waited_for_and_there_once_or_not_at_all(
    disk: Disk, trial: TrialFolder, clock: Clock, caplog: pytest.LogCaptureFixture
):
    long = {"epoch": 2, "text": "y" * 9000}
    file = trial.path / "reports.jsonl"
    disk.fill()
    with pytest.raises(StorageError, match=r"reports\.jsonl .*No space left"):
        trial.append_reports(long)
    assert trial.read_reports() == [REPORT]
    clock.now += 0.3  # so that it is another outage
    clock.after(0.2, disk.free)
    trial.append_reports(long)
    assert trial.read_reports() == [REPORT, long]
    assert file.read_bytes().count(b"\n") == 2
    assert f"{file} isn’t available: No space left on device; retrying for 1 seconds" in caplog.text
    assert "is available again" in caplog.text


@pytest.mark.parametrize(
    "read", [TrialFolder.read_reports, TrialFolder.read_config, TrialFolder.read_end]
)
def test_what_lies_on_a_share_that_is_gone_is_waited_for_and_never_taken_for_missing(
    disk: Disk, trial: TrialFolder, clock: Clock, read: Callable[[TrialFolder], object]
):
    never_begun = TrialFolder(trial.path.with_name("search-0007"))
    assert (never_begun.read_end(), never_begun.read_reports()) == (None, [])
    trial.write_end(END)
    before = read(trial)
    disk.take_away()
    clock.after(0.2, disk.bring_back)
    assert read(trial) == before


def test_nothing_is_written_beside_a_share_that_is_gone(
    disk: Disk, study: StudyFolder, trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
):
    other = study.trial("search-0001")
    disk.take_away()
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.0)
    for write in (
        lambda: other.create({"number": 1}),
        lambda: trial.append_reports(REPORT),
        lambda: trial.write("state.safetensors", b"state"),
        lambda: study.write_json("candidates.json", []),
    ):
        with pytest.raises(StorageError, match="for 0 seconds: No such file or directory"):
            write()
    assert not any(disk.path.iterdir())
    disk.bring_back()
    other.create({"number": 1})
    assert len(list(study.trials())) == 2


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_died_on_a_full_disk_of_rays_is_waited_for_and_ends_no_trial(
    disk: Disk, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Trial, "error_file", None)  # which Tune's controller would write
    monkeypatch.setenv("RAY_TMPDIR", str(disk.path))
    (disk.path / "ray").mkdir()
    study = StudyWriter(tmp_path / "mine")
    config = study.trial(0)
    trial = Trial("any", config=config.model_dump(mode="json"), stub=True)
    searcher = StudySearcher(study.folder, [config])
    searcher.suggest(trial.trial_id)
    callback = StudyCallback(Round(searcher, StudyScheduler(), {}, []))
    disk.fill()
    clock.after(0.2, disk.free)
    callback.on_trial_recover(trial)
    callback.on_step_end()
    clock.now += 0.3  # so that it is another outage
    disk.fill()
    callback.on_trial_error(trial)
    with pytest.raises(StorageError, match=r"could not be read or written .* No space left"):
        callback.on_step_end()
    assert study.folder.trial(config.trial_id).read_end() is None
