"""The time of a search: what is begun, what goes on, and what it counts."""

import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.search import deadline as module
from study.search.deadline import Deadline, DeadlineScheduler, working_seconds
from tests.not_none import not_none
from tests.tiny_study import TinyStudy

MakeStudy = Callable[..., TinyStudy]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test sets."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.seconds)
    return now


def test_as_long_as_there_is_time_a_trial_goes_on_unless_its_next_epoch_is_too_long(
    clock: SimpleNamespace,
) -> None:
    deadline = Deadline(600.0, _began=clock.seconds)
    assert not deadline.must_stop("a", epochs_left=1000, epoch_seconds=30.0)
    assert not deadline.must_stop("a", epochs_left=1, epoch_seconds=660.0)
    assert deadline.must_stop("a", epochs_left=1, epoch_seconds=661.0)
    assert deadline.stopped_ids == {"a"}


def test_when_the_time_is_over_only_what_soon_ends_goes_on(clock: SimpleNamespace) -> None:
    deadline = Deadline(600.0, _began=clock.seconds)
    clock.seconds += 620
    assert not deadline.must_stop("a", epochs_left=4, epoch_seconds=10.0)
    assert deadline.must_stop("b", epochs_left=5, epoch_seconds=10.0)
    clock.seconds += 50
    assert deadline.must_stop("a", epochs_left=1, epoch_seconds=10.0)
    assert deadline.stopped_ids == {"a", "b"}


def test_another_trial_begins_if_there_is_time_for_an_epoch(clock: SimpleNamespace) -> None:
    deadline = Deadline(600.0, _began=clock.seconds)
    assert deadline.allows_another
    deadline.must_stop("a", epochs_left=9, epoch_seconds=100.0)
    clock.seconds += 499
    assert deadline.allows_another
    clock.seconds += 1
    assert not deadline.allows_another


@pytest.mark.parametrize(
    ("arm", "decided", "expected"),
    [
        ("search", TrialScheduler.CONTINUE, TrialScheduler.STOP),
        ("baseline", TrialScheduler.CONTINUE, TrialScheduler.CONTINUE),
        ("search", TrialScheduler.STOP, TrialScheduler.STOP),
    ],
)
def test_a_baseline_is_never_stopped(
    clock: SimpleNamespace, arm: str, decided: str, expected: str
) -> None:
    class Decided(FIFOScheduler):
        def on_trial_result(self, *_: Any) -> str:
            return decided

    deadline = Deadline(0.0, _began=clock.seconds)
    trial = SimpleNamespace(trial_id="a", config={"arm": arm})
    result = {"epoch": 1, "epochs": 99, "time_this_iter_s": 1.0}
    assert DeadlineScheduler(deadline, Decided()).on_trial_result(None, trial, result) == expected
    by_time = decided == TrialScheduler.CONTINUE and expected == TrialScheduler.STOP
    assert deadline.stopped_ids == ({"a"} if by_time else set()), (
        "others were not stopped by the time"
    )


def test_what_was_spent_is_the_time_in_which_anything_worked() -> None:
    def report(begin: float, end: float) -> dict[str, float]:
        return {"ended_at": end, "seconds": end - begin}

    beside = [[report(0, 10), report(10, 20)], [report(5, 30)]]
    assert working_seconds(beside) == 30
    assert working_seconds([*beside, [report(40, 50)]]) == 50, (
        "a worker that starts is no interruption"
    )
    assert working_seconds([*beside, [report(1000, 1010)]]) == 40
    assert working_seconds([]) == working_seconds([[{"seconds": 3.0}]]) == 0


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(300)
def test_a_search_ends_in_its_time_with_all_baselines_and_what_was_done(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    study = make_study(
        "in-time",
        search={"trials": 2000, "minutes": 0.05, "asha": None},
        training={"epochs": 20, "batch_size": 8},
    )
    study.search()
    ends = {trial.trial_id: trial.read_end() for trial in study.folder.trials()}
    arms = {trial.trial_id: trial.read_config()["arm"] for trial in study.folder.trials()}
    assert all(end is not None for end in ends.values())
    assert Counter(arms.values())["baseline"] == 5
    assert len(ends) < 1000
    assert {not_none(ends[name]).status for name in arms if arms[name] == "baseline"} == {
        "finished"
    }
    cut = [end for end in ends.values() if not_none(end).status == "stopped"]
    assert {not_none(not_none(end).reason).partition(" at epoch")[0] for end in cut} <= {
        "the time of the search was over"
    }
    over = study.config.search.model_copy(update={"minutes": 1e-6})
    study.config = study.config.model_copy(update={"search": over})
    study.search()
    assert {trial.trial_id: trial.read_end() for trial in study.folder.trials()} == ends
