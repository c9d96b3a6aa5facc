"""TensorBoard's files of a study, read back as TensorBoard reads them."""

import os
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from study.errors import ConfigError, TrackingError
from study.tracking import tensorboard
from study.tracking.tensorboard import TensorBoardTracker
from study.trial import TrialConfig
from tests.written_study import Written

POINTS = [(1, 0.01), (2, 0.02), (3, 0.03)]
"""Epochs and validation scores of a whole trial."""


def started(study: Written) -> TensorBoardTracker:
    tracker = TensorBoardTracker()
    tracker.start(study.study)
    return tracker


def train(study: Written, tracker: TensorBoardTracker, config: TrialConfig, *epochs: int):
    """Record epochs, and tell the tracker of each as a study does."""
    tracker.trial_started(config)
    for epoch in epochs:
        tracker.trial_reported(config, epoch, study.report(config, epoch))


def place(study: Written) -> Path:
    return study.folder.path / "tensorboard"


def events(study: Written, trial_id: str = "search-0000") -> EventAccumulator:
    return EventAccumulator(str(place(study) / trial_id)).Reload()


def scores(study: Written, trial_id: str = "search-0000") -> list[tuple[int, float]]:
    points = events(study, trial_id).Scalars("val_score")
    return [(point.step, round(point.value, 4)) for point in points]


def end_of(study: Written) -> str:
    (text,) = events(study).Tensors("end/text_summary")
    return text.tensor_proto.string_val[0].decode()


def test_an_epoch_is_there_before_its_trial_ends_and_then_settings_and_end(study: Written):
    tracker, config = started(study), study.trial(0)
    train(study, tracker, config, 1, 2)
    assert events(study).Tags()["scalars"] == ["train_loss", "val_score", "seconds"]
    assert scores(study) == POINTS[:2]
    tracker.trial_ended(config, study.end(config, "stopped", reason="it is weak"), 0.01)
    assert tracker.close(finished=True) == {}
    assert end_of(study) == "stopped: it is weak"
    contents = events(study).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"vision.ln[0:2]" in contents
    assert b"ln_lr" in contents


def test_a_resumed_trial_goes_on_and_no_point_is_there_twice(study: Written):
    first, config = started(study), study.trial(0)
    train(study, first, config, 1, 2)
    study.report(config, 3)  # the driver died before it heard of it
    second = started(study)
    train(study, second, config, 4)
    second.trial_ended(config, study.end(config), 0.04)
    assert second.close(finished=True) == {}
    assert scores(study) == [*POINTS, (4, 0.04)]
    assert end_of(study) == "finished"


def test_a_trial_that_is_trained_again_has_the_points_of_its_last_training(
    study: Written,
):
    study.whole(0)
    tracker, config = started(study), study.trial(0)
    assert scores(study) == POINTS
    study.folder.trial(config.trial_id).reopen()
    train(study, tracker, config, 1)
    assert scores(study) == POINTS[:1]


def test_what_ended_unheard_is_written_when_a_study_begins_again(study: Written):
    study.whole(0)
    assert started(study).close(finished=False) == {}
    study.whole(1)
    before = sorted((place(study) / "search-0000").iterdir())
    assert started(study).close(finished=True) == {}
    assert [step for step, _ in scores(study, "search-0001")] == [1, 2, 3]
    assert sorted((place(study) / "search-0000").iterdir()) == before


def test_what_ended_unheard_is_written_though_the_clock_has_jumped_back(study: Written):
    config = study.trial(0)
    study.report(config, 1)
    assert started(study).close(finished=False) == {}
    for path in (place(study) / "search-0000").iterdir():
        os.utime(path, (2**32, 2**32))
    study.report(config, 2)
    study.end(config)
    assert started(study).close(finished=True) == {}
    assert scores(study) == POINTS[:2]


def test_an_epoch_from_the_ledger_has_its_time_and_what_is_no_metric_is_left_out(
    study: Written,
):
    report = {"epoch": 1, "ended_at": 1000.5, "val_score": 0.5, "folds": [0.25, 0.75]}
    report |= {"head": "text", "scores": {"text": {"score": 0.5}}}
    study.folder.trial(study.trial(0).trial_id).append_report(report)
    assert started(study).close(finished=False) == {}
    (point,) = events(study).Scalars("val_score")
    assert (point.step, point.value, point.wall_time) == (1, 0.5, 1000.5)
    assert events(study).Tags()["scalars"] == ["val_score"]


def test_what_cannot_be_written_is_told_at_the_end_and_ends_nothing(study: Written):
    tracker, config = started(study), study.trial(0)
    place(study).write_text("in the way")
    train(study, tracker, config, 1, 2)
    tracker.trial_ended(config, study.end(config), 0.02)
    unsent = tracker.close(finished=True)
    assert unsent.keys() == {config.trial_id}
    assert "Error" in unsent[config.trial_id]
    with pytest.raises(TrackingError, match=r"TensorBoard lacks 1 run:\n  search-0000: "):
        TensorBoardTracker().sync(study.study, lambda: None)
    place(study).unlink()
    assert TensorBoardTracker().sync(study.study, lambda: None).trials == 1
    assert scores(study) == POINTS[:2]


def test_after_a_failure_all_epochs_of_the_trial_are_written_again(
    study: Written, monkeypatch: pytest.MonkeyPatch
):
    tracker, config = started(study), study.trial(0)
    train(study, tracker, config, 1)

    def fail(*_: object):
        raise OSError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr(tensorboard, "_write", fail)
        train(study, tracker, config, 2)
    assert tracker.close(finished=False)[config.trial_id].endswith("No space left on device")
    train(study, tracker, config, 3)
    assert tracker.close(finished=False) == {}
    assert scores(study) == POINTS


def test_the_end_of_a_study_tells_how_to_look(study: Written):
    tracker = started(study)
    assert list(tracker.viewing_hints()) == [("charts", f"tensorboard --logdir {place(study)}")]


def test_without_the_extra_a_plain_error_names_it(study: Written, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'clipfit-study\[tensorboard\]'"):
        TensorBoardTracker().check(study.config)
