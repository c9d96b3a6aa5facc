"""A trial's epochs on disk: what a crash may leave, and what is made of it."""

import ctypes
import json
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from study.data.images.image_reading import ImageReading
from study.data.records import Record
from study.data.tasks import Part, Task
from study.method.delta import DeltaInfo, load_delta
from study.search.recording import (
    close_trial,
    drop_reports_beyond_state,
    exit_after_time_limit,
    load_state,
    read_hang,
    record_epoch,
)
from study.selection.validation import read_validation
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import End, TrialFolder
from study.trial import EpochReport, Prediction, TrialData
from study.trial.predictions import confusion_of, read_predictions
from tests.small_trials import trial_data

LAST = 4
"""Epochs of a trial."""
NAME = "vision_model.post_layernorm.weight"
INFO = DeltaInfo(
    backbone="tiny",
    revision=None,
    fingerprint="0" * 16,
    subset="vision.ln_post",
    class_names=("digit zero", "digit öne"),
    templates=("a {}",),
)


ONE, OTHER = INFO.class_names
PREDICTED = [
    *(Prediction("accuracy", f"digits/{n}", ONE, ONE, 0.5 + n / 8) for n in range(3)),
    Prediction("accuracy", "digits/3", ONE, OTHER, 0.625),
]
SHOWN = tuple(Record(given.path, INFO.class_names.index(given.label)) for given in PREDICTED)
TASK = Task(Part("train", (), (0, 1)), (Part("accuracy", SHOWN, (0, 1)),))


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    study = StudyFolder(tmp_path / "mine")
    study.create("", {})
    trial = study.trial("search-0000")
    trial.create({"number": 0, "epochs": LAST, "settings": {"subset": "none"}})
    return trial


def data(split: Any = "val") -> TrialData:
    return trial_data(
        class_names=INFO.class_names, templates=INFO.templates, tasks=(TASK,), split=split
    )


def report(epoch: int, *, done: bool = False, tasks: int = 1) -> EpochReport:
    tensors = tuple({NAME: torch.full((3,), epoch + task / 10)} for task in range(tasks))
    state = {
        **{f"task{n}.parameter.{NAME}": t[NAME] for n, t in enumerate(tensors)},
        **{f"task{n}.optimizer.0.momentum_buffer": torch.ones(3) for n in range(tasks)},
        **{f"task{n}.generator": torch.Generator().get_state() for n in range(tasks)},
    }
    return EpochReport(
        epoch=epoch,
        done=done,
        metrics={"val_score": 0.5, "seconds": 1.0},
        state={} if done else state,
        deltas=tensors,
        predictions=PREDICTED,
    )


def flip(path: Path, what: bytes, at: int = 2) -> None:
    """Change one bit of a byte, so that the file can still be read."""
    contents = bytearray(path.read_bytes())
    contents[contents.index(what) + at] ^= 1
    path.write_bytes(contents)


def test_the_last_state_is_given_back_with_its_epoch(trial: TrialFolder) -> None:
    assert load_state(trial) is None
    for epoch in (1, 2):
        record_epoch(trial, report(epoch), data(), INFO)
    start = load_state(trial)
    assert start is not None
    epoch, state = start
    assert epoch == 2
    expected = report(2).state
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert [r["epoch"] for r in trial.read_reports()] == [1, 2]


def test_a_peer_that_is_stopped_leaves_no_delta(trial: TrialFolder) -> None:
    settings = {"subset": "none", "peer": {"method": "full", "lr": 0.1}}
    trial = TrialFolder(trial.path.with_name("search-0001"))
    trial.create({"number": 1, "epochs": LAST, "settings": settings})
    record_epoch(trial, replace(report(1), deltas=()), data(), INFO)
    close_trial(trial, End("stopped", 1, 0.5))
    assert not list(trial.path.glob("delta*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b""),
        lambda path: flip(path, b"\0\0\x80\x3f"),  # 1.0, in the optimizer's state
        lambda path: flip(path, b"digit zero"),
        lambda path: save_file({"x": torch.ones(1)}, path),
    ],
)
def test_a_damaged_state_costs_epochs_and_not_the_trial(
    trial: TrialFolder, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    record_epoch(trial, report(1), data(), INFO)
    damage(trial.path / "state.safetensors")
    assert load_state(trial) is None
    assert "the trial begins again" in caplog.text
    close_trial(trial, End("stopped", 1, 1.0))
    assert trial.read_end() is not None
    assert not (trial.path / "delta.safetensors").exists()


@pytest.mark.parametrize(
    ("split", "crashing"),
    [
        ("test", "delta.safetensors"),
        ("test", "predictions.parquet"),
        ("val", "validation.parquet"),
    ],
)
def test_the_last_report_is_there_only_when_all_else_is(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch, split: str, crashing: str
) -> None:
    """A resumed study takes a trial with its last report for finished."""
    write = TrialFolder.write

    def crash(self: TrialFolder, name: str, contents: bytes | str) -> None:
        if name == crashing:
            raise KeyboardInterrupt
        write(self, name, contents)

    monkeypatch.setattr(TrialFolder, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        record_epoch(trial, report(4, done=True), data(split), INFO)
    assert trial.read_reports() == []


def record(trial: TrialFolder, *epochs: int) -> None:
    for epoch in epochs:
        record_epoch(trial, report(epoch, done=epoch == LAST), data(), INFO)


def epochs_of(trial: TrialFolder) -> list[int]:
    return [line["epoch"] for line in trial.read_reports()]


def change_lines(trial: TrialFolder, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = trial.path / "reports.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def planted(epoch: int) -> bytes:
    line = {"epoch": epoch, "val_score": 0.99, "seconds": 1.0}
    return json.dumps(line).encode() + b"\n"


OTHER_REPORTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "emptied": lambda lines: [],
    "cut to whole lines": lambda lines: lines[:-1],
    "without the first": lambda lines: lines[1:],
    "another score": lambda lines: [lines[0], planted(2)],
    "another order": lambda lines: lines[::-1],
}


@pytest.mark.parametrize("change", OTHER_REPORTS.values(), ids=OTHER_REPORTS)
def test_a_trial_whose_reports_are_other_than_its_state_knows_begins_again_and_says_so(
    trial: TrialFolder,
    change: Callable[[list[bytes]], list[bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(trial, 1, 2)
    change_lines(trial, change)
    assert load_state(trial) is None
    assert f"{trial.path}/reports.jsonl does not hold the reports of its 2 epochs" in caplog.text
    drop_reports_beyond_state(trial)
    assert trial.read_reports() == []
    caplog.clear()
    assert load_state(trial) is None, "nothing is left of what was damaged"
    assert not caplog.text


@pytest.mark.parametrize(
    ("recorded", "added", "told"),
    [
        (2, (3,), False),  # one report more than the state knows is what a crash leaves
        (2, (3, LAST), True),
        (2, (LAST,), True),
        (0, (1, 2), True),
        (0, (1, 2, 3, LAST), True),
    ],
)
def test_reports_planted_after_the_last_state_are_not_believed(
    trial: TrialFolder,
    recorded: int,
    added: tuple[int, ...],
    told: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(trial, *range(1, recorded + 1))
    with (trial.path / "reports.jsonl").open("ab") as reports:
        reports.writelines(map(planted, added))
    drop_reports_beyond_state(trial)
    assert epochs_of(trial) == list(range(1, recorded + 1))
    start = load_state(trial)
    assert (start[0] if start else 0) == recorded
    assert (f"goes on from epoch {recorded}" in caplog.text) == told


@pytest.mark.parametrize("change", [lambda last: planted(LAST), lambda last: b""])
def test_a_last_report_that_was_changed_is_not_believed(
    trial: TrialFolder, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    record(trial, *range(1, LAST + 1))
    change_lines(trial, lambda lines: [*lines[:-1], change(lines[-1])])
    drop_reports_beyond_state(trial)
    assert epochs_of(trial) == [1, 2, 3]
    record(trial, LAST)
    drop_reports_beyond_state(trial)
    assert epochs_of(trial) == [1, 2, 3, LAST]
    assert trial.reports_are_final()


def record_until(trial: TrialFolder, turn: int, when: str) -> bool:
    """Run a trial in a process that is killed at its turn-th fsync; tell whether it was.

    Args:
        trial: it is recorded and closed.
        turn: from 1.
        when: ``before`` or ``after`` it, or ``half``: when the file lacks its last bytes.
    """
    if (child := os.fork()) == 0:
        left, fsync = [turn], os.fsync

        def dying(fd: Any) -> None:
            left[0] -= 1
            if left[0] == 0 and when == "half" and stat.S_ISREG(os.fstat(fd).st_mode):
                os.ftruncate(fd, max(0, os.fstat(fd).st_size - 7))
            if left[0] == 0 and when != "after":
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(fd)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = dying
        record(trial, *range(1, LAST + 1))
        close_trial(trial, End("finished", LAST, 1.0))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("when", ["before", "half", "after"])
def test_a_crash_at_whatever_write_is_no_damage(
    trial: TrialFolder, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = StudyFolder(trial.path.parents[1])
    turn = 0
    written: list[str] = []
    while not written or written[-1] != "all":
        turn += 1
        crashed = study.trial(f"search-{turn:04d}")
        crashed.create(trial.read_config())
        killed = record_until(crashed, turn, when)
        written.append(str(len(crashed.read_reports())) if killed else "all")
        if crashed.read_end() is None:
            before = epochs_of(crashed)
            drop_reports_beyond_state(crashed)
            kept = epochs_of(crashed)
            assert kept == before[: len(kept)]
            assert len(kept) >= len(before) - 1
            if LAST not in kept:
                start = load_state(crashed)
                assert (start[0] if start else 0) == len(kept)
                record(crashed, *range(len(kept) + 1, LAST + 1))
            assert LAST not in before or kept == before, "the last epoch is kept"
            assert crashed.reports_are_final()
            close_trial(crashed, End("finished", LAST, 1.0))
        assert epochs_of(crashed) == list(range(1, LAST + 1))
        assert not crashed.damaged()
    assert set(written) >= {"1", "2", "3", "4", "all"}
    assert not caplog.text


def test_a_stopped_trial_leaves_its_delta_and_no_state(trial: TrialFolder) -> None:
    read = replace(INFO, reading=ImageReading((0, 4095)))
    record_epoch(trial, report(3), data(), read)
    close_trial(trial, End("stopped", 3, 1.0))
    tensors, info = load_delta(trial.path / "delta.safetensors")
    assert info == read
    assert tensors.keys() == {NAME}
    assert torch.equal(tensors[NAME], torch.full((3,), 3.0))
    assert not (trial.path / "state.safetensors").exists()


def test_a_stopped_trial_leaves_what_it_is_used_with_where_that_is_something_else(
    trial: TrialFolder,
) -> None:
    used = {NAME: torch.full((3,), 1.5), "head.rows": torch.eye(2), "head.classes": torch.arange(2)}
    state = {
        **report(3, tasks=2).state,
        **{f"task{n}.delta.{name}": t + n for n in range(2) for name, t in used.items()},
    }
    record_epoch(trial, replace(report(3), state=state), data(), INFO)
    close_trial(trial, End("stopped", 3, 1.0))
    for fold in range(2):
        tensors, _ = load_delta(trial.path / f"delta-fold{fold}.safetensors")
        assert tensors.keys() == used.keys()
        assert all(torch.equal(tensor, used[name] + fold) for name, tensor in tensors.items())


def test_a_failed_trial_leaves_no_delta(trial: TrialFolder) -> None:
    record_epoch(trial, report(3), data(), INFO)
    close_trial(trial, End("failed", 3, 1.0, error="boom"))
    assert not list(trial.path.glob("*.safetensors"))


@pytest.mark.parametrize("ended", ["finished", "stopped"])
def test_each_fold_leaves_a_delta_of_its_own(trial: TrialFolder, ended: Any) -> None:
    record_epoch(trial, report(3, done=ended == "finished", tasks=3), data(), INFO)
    close_trial(trial, End(ended, 3, 1.0))
    names = sorted(path.name for path in trial.path.glob("delta*"))
    assert names == [f"delta-fold{n}.safetensors" for n in range(3)]
    tensors, _ = load_delta(trial.path / names[1])
    assert tensors[NAME][0] == pytest.approx(3.1)


def test_a_test_leaves_its_prediction_of_every_image(trial: TrialFolder) -> None:
    record_epoch(trial, report(4, done=True), data("test"), INFO)
    study = StudyFolder(trial.path.parents[1])
    assert read_predictions(study, trial.trial_id) == PREDICTED
    assert confusion_of(read_predictions(study, trial.trial_id)) == {
        ("accuracy", ONE, ONE): 3,
        ("accuracy", ONE, OTHER): 1,  # none of the other was seen
    }
    assert not (trial.path / "validation.parquet").exists()


def test_validation_leaves_its_predictions_in_a_file_of_their_own(trial: TrialFolder) -> None:
    """Whoever reads test predictions never takes those of validation for them."""
    record_epoch(trial, report(1), data(), INFO)
    assert read_validation(trial) is None
    record_epoch(trial, report(4, done=True), data(), INFO)
    assert not (trial.path / "predictions.parquet").exists()
    table = read_validation(trial)
    assert table is not None
    assert table["path"].to_pylist() == [given.path for given in PREDICTED]


def hang_while_holding_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(60)


def exit_code(trial: TrialFolder, limit: float | None, do: Callable[[], object]) -> int:
    """Do something in a process of its own, watched."""
    if (child := os.fork()) == 0:
        with exit_after_time_limit(trial, limit):
            do()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_hangs_ends_and_leaves_where_it_was(trial: TrialFolder) -> None:
    assert exit_code(trial, 0.2, hang_while_holding_the_interpreter) == 1
    assert "in hang_while_holding_the_interpreter" in (read_hang(trial) or "")
    close_trial(trial, End("failed", 0, 0.0))
    assert read_hang(trial) is None


@pytest.mark.parametrize("limit", [60.0, None])
def test_what_ends_in_time_leaves_nothing(trial: TrialFolder, limit: float | None) -> None:
    assert exit_code(trial, limit, lambda: None) == 0
    assert read_hang(trial) is None


def test_a_hang_is_not_the_cause_of_a_later_death(trial: TrialFolder) -> None:
    exit_code(trial, 0.2, hang_while_holding_the_interpreter)
    killed = exit_code(trial, 60.0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert killed == -signal.SIGKILL
    assert read_hang(trial) is None
