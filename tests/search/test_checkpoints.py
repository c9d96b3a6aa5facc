"""A trial's epochs on disk: what a crash may leave, and what is made of it."""

import ctypes
import itertools
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

from study.method.delta import load_delta
from study.search.checkpoints import (
    exit_after_time_limit,
    load_state,
    read_hang,
    record_epochs,
    restore_reports_of_state,
)
from study.search.recorded_trials import RecordedTrial, close_trial
from study.storage.trial_folder import End, Status, TrialFolder
from study.trial.study import EpochReport, Prediction
from tests.damage import flip
from tests.not_none import not_none
from tests.settings import clipfit_trial, trial_data
from tests.study_writer import INFO, StudyWriter

LAST = 4
"""Epochs of a trial."""
NAME = "vision_model.post_layernorm.weight"
DATA = trial_data(split="val")


@pytest.fixture
def trial(written: StudyWriter) -> TrialFolder:
    return written.folder.trial(written.trial(0, epochs=LAST).trial_id)


def report(epoch: int, tasks: int = 1) -> EpochReport:
    done = epoch == LAST
    deltas = []
    state = {}
    for task in range(tasks):
        tensor = torch.full((3,), epoch + task / 10)
        deltas.append({NAME: tensor})
        if not done:
            state[f"task{task}.parameter.{NAME}"] = tensor
            state[f"task{task}.optimizer.0.momentum_buffer"] = torch.ones(3)
    return EpochReport(
        epoch=epoch,
        done=done,
        metrics={"val_score": 0.5, "seconds": 1.0},
        state=state,
        deltas=tuple(deltas),
        predictions=[Prediction("text", "accuracy", "digits/0", "zero", "one", 0.5)],
        head="text",
        scores={"text": {"score": 0.5}},
    )


def record(trial: TrialFolder, *epochs: int):
    for epoch in epochs:
        record_epochs(trial, [report(epoch)], DATA, INFO)


def close(trial: TrialFolder, status: Status, **changes: Any) -> End:
    config = clipfit_trial(trial_id=trial.trial_id, **changes)
    found = RecordedTrial(trial, config, None, trial.read_reports(), None)
    return not_none(close_trial(found, [], status).end)


def epochs_of(trial: TrialFolder) -> list[int]:
    return [line["epoch"] for line in trial.read_reports()]


def test_the_last_state_is_given_back_with_its_epoch(trial: TrialFolder):
    assert load_state(trial) is None
    record(trial, 1, 2)
    state = not_none(load_state(trial))
    assert state.epoch == 2
    assert state.tensors.keys() == report(2).state.keys()
    torch.testing.assert_close(state.tensors, report(2).state, rtol=0, atol=0)
    assert epochs_of(trial) == [1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path, b"\0\0\x80\x3f"),  # 1.0, in the optimizer's state
        lambda path: save_file({"x": torch.ones(1)}, path),
    ],
)
def test_a_damaged_state_costs_epochs_and_not_the_trial(
    trial: TrialFolder, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
):
    record(trial, 1)
    damage(trial.path / "state.safetensors")
    assert load_state(trial) is None
    assert "its trial starts again" in caplog.text
    close(trial, "stopped")
    assert trial.read_end() is not None
    assert not (trial.path / "delta.safetensors").exists()


# The epochs recorded, those whose reports are left, reports that were planted, the epochs that
# count, and whether a warning says so.
@pytest.mark.parametrize(
    "epochs, left, planted, kept, warned",
    [
        (2, "1", "", 2, True),
        (2, "21", "", 2, True),
        (2, "1", "2", 2, True),
        (2, "12", "3", 2, True),
        (2, "12", "34", 2, True),
        (2, "12", "x", 2, True),
        (0, "", "1234", 0, True),
        (0, "", "x", 0, True),
        (4, "123", "4", 3, True),
        (4, "123", "", 3, False),
    ],
)
def test_reports_that_no_epoch_wrote_are_not_believed(
    trial: TrialFolder,
    epochs: int,
    left: str,
    planted: str,
    kept: int,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
):
    record(trial, *range(1, epochs + 1))
    path = trial.path / "reports.jsonl"
    written = path.read_text().splitlines() if epochs else []
    lines = [written[int(epoch) - 1] for epoch in left]
    for epoch in planted:
        report = json.dumps({"epoch": int(epoch), "val_score": 0.99}) if epoch != "x" else "\0"
        lines.append(report)
    path.write_text("".join(f"{line}\n" for line in lines))
    restore_reports_of_state(trial)
    assert epochs_of(trial) == list(range(1, kept + 1))
    assert bool(caplog.text) == warned
    caplog.clear()
    assert (load_state(trial) or (0,))[0] == kept
    assert not caplog.text, "nothing is left of what was damaged"
    record(trial, *range(kept + 1, LAST + 1))
    restore_reports_of_state(trial)
    assert epochs_of(trial) == [1, 2, 3, LAST]
    assert trial.reports_are_final()


STEPS = ([1], [2, 3], [LAST])
"""The epochs that are written together by `record_until`."""


def record_until(trial: TrialFolder, turn: int, when: str) -> bool:
    """Run a trial in a process that is killed at its turn-th fsync; tell whether it was.

    Args:
        trial: it is recorded and closed.
        turn: from 1.
        when: ``before`` or ``after`` it, or ``half``: when the file lacks its last bytes.
    """
    if (child := os.fork()) == 0:
        turns, fsync = itertools.count(1), os.fsync

        def dying(fd: Any):
            ends = next(turns) == turn
            if ends and when == "half" and stat.S_ISREG(os.fstat(fd).st_mode):
                os.ftruncate(fd, max(0, os.fstat(fd).st_size - 7))
            if not ends or when == "after":
                fsync(fd)
            if ends:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = dying
        for step in STEPS:
            record_epochs(trial, [report(epoch) for epoch in step], DATA, INFO)
        close(trial, "finished")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "when",
    [
        "half",
        pytest.param("before", marks=[pytest.mark.long, pytest.mark.ci]),
        pytest.param("after", marks=[pytest.mark.long, pytest.mark.ci]),
    ],
)
def test_a_crash_at_whatever_write_is_no_damage(trial: TrialFolder, when: str):
    written = set()
    for turn in itertools.count(1):
        crashed = TrialFolder(trial.path.with_name(f"search-{turn:04d}"))
        crashed.create(trial.read_config())
        killed = record_until(crashed, turn, when)
        before = epochs_of(crashed)
        written.add(len(before))
        if crashed.read_end() is None:
            restore_reports_of_state(crashed)
            kept = epochs_of(crashed)
            # At most the step that was being written is lost.
            last_steps: dict[int, list[list[int]]] = {0: [[]], 1: [[], [1]], 3: [[1], [1, 2, 3]]}
            assert kept in last_steps.get(len(before), [before])
            if LAST in before:
                assert kept == before
            else:
                assert (load_state(crashed) or (0,))[0] == len(kept)
            record(crashed, *range(len(kept) + 1, LAST + 1))
            assert crashed.reports_are_final()
            close(crashed, "finished")
        assert epochs_of(crashed) == list(range(1, LAST + 1))
        assert not crashed.damaged()
        left = {path.name for path in crashed.path.iterdir()}
        assert left >= {"delta.safetensors", "validation.parquet"}
        if not killed:
            break
    assert written == {0, 1, 3, LAST}


@pytest.mark.parametrize("at_other_alpha", [False, True])
def test_a_stopped_trial_leaves_the_delta_that_it_is_used_with(
    trial: TrialFolder, at_other_alpha: bool
):
    read = replace(INFO, pixel_range=(0, 4095))
    for epoch in (1, 2, 3):
        now = report(epoch, tasks=2)
        if at_other_alpha:
            used = {f"task{fold}.delta.{NAME}": torch.full((3,), 1.5 + fold) for fold in range(2)}
            now = replace(now, state=now.state | used)
        record_epochs(trial, [now], DATA, read)
    end = close(trial, "stopped", stage="test")
    assert (end.epochs, end.seconds) == (3, 3.0)
    for fold, value in enumerate((1.5, 2.5) if at_other_alpha else (3.0, 3.1)):
        tensors, info = load_delta(trial.path / f"delta-fold{fold}.safetensors")
        assert info == read
        assert tensors.keys() == {NAME}
        assert torch.equal(tensors[NAME], torch.full((3,), value))
    assert not (trial.path / "state.safetensors").exists()


@pytest.mark.parametrize(
    "status, settings",
    [
        ("failed", {"subset": "none"}),
        ("stopped", {"subset": "none", "method": {"method": "full", "lr": 0.1}}),
    ],
)
def test_a_failed_trial_and_a_stopped_method_leave_no_delta(
    trial: TrialFolder, status: Status, settings: dict[str, Any]
):
    record(trial, 1)
    close(trial, status, **settings)
    assert not list(trial.path.glob("delta*.safetensors"))


def hang_while_holding_the_interpreter():
    ctypes.PyDLL(None).sleep(60)


def exit_code(trial: TrialFolder, limit: float | None, do: Callable[[], object]) -> int:
    """Do something in a process of its own, watched."""
    if (child := os.fork()) == 0:
        with exit_after_time_limit(trial, limit):
            do()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_hangs_ends_and_leaves_its_stack(trial: TrialFolder):
    for limit in (60.0, None):
        assert exit_code(trial, limit, lambda: None) == 0
        assert read_hang(trial) is None
    assert exit_code(trial, 0.2, hang_while_holding_the_interpreter) == 1
    assert "in hang_while_holding_the_interpreter" in (read_hang(trial) or "")
    killed = exit_code(trial, 60.0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert killed == -signal.SIGKILL
    assert read_hang(trial) is None, "it is not the cause of a later death"
    assert exit_code(trial, 0.2, hang_while_holding_the_interpreter) == 1
    close(trial, "failed")
    assert read_hang(trial) is None
