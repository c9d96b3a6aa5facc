"""The time of a search: what is begun, what goes on, and what it counts."""

from collections.abc import Callable

import pytest

from study.search import deadline as module
from study.search.deadline import Deadline
from tests.clock import Clock
from tests.in_process import trials_in_process
from tests.not_none import not_none
from tests.tiny_study import TinyStudy

MakeStudy = Callable[..., TinyStudy]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_trial_goes_on_as_long_as_there_is_time_unless_its_next_epoch_is_too_long(
    clock: Clock,
):
    deadline = Deadline(600.0, _began=clock.now)
    assert not deadline.must_stop("a", epochs_left=1000, epoch_seconds=30.0)
    assert not deadline.must_stop("a", epochs_left=1, epoch_seconds=660.0)
    assert deadline.must_stop("a", epochs_left=1, epoch_seconds=661.0)
    clock.now += 620  # now what soon ends goes on
    assert not deadline.must_stop("b", epochs_left=4, epoch_seconds=10.0)
    assert deadline.must_stop("c", epochs_left=5, epoch_seconds=10.0)
    assert deadline.stopped_ids == {"a", "c"}
    clock.now += 50
    assert deadline.must_stop("b", epochs_left=1, epoch_seconds=10.0)


def test_another_trial_begins_if_there_is_time_for_an_epoch(clock: Clock):
    deadline = Deadline(600.0, _began=clock.now)
    assert deadline.allows_another
    deadline.must_stop("a", epochs_left=9, epoch_seconds=100.0)
    clock.now += 499
    assert deadline.allows_another
    clock.now += 1
    assert not deadline.allows_another


def test_a_search_ends_in_its_time_with_all_baselines_and_what_was_done(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "GRACE", 0.0)
    search = {"trials": 2000, "minutes": 0.02, "asha": None}
    study = make_study("in-time", search=search)
    with trials_in_process():
        study.search()
    ends = {trial.trial_id: not_none(trial.read_end()) for trial in study.folder.trials()}
    assert 5 <= len(ends) < 1000
    for trial_id, end in ends.items():
        if study.folder.trial(trial_id).read_config()["group"] == "baseline":
            assert end.status == "finished"
        elif end.status == "stopped":
            assert str(end.reason).startswith("the time of the search was over at epoch")
    over = study.config.search.model_copy(update={"minutes": 1e-6})
    study.config = study.config.model_copy(update={"search": over})
    with trials_in_process():
        study.search()
    assert {trial.trial_id: trial.read_end() for trial in study.folder.trials()} == ends
