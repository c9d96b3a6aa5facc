"""Several trackers at once: what each hears, and who answers."""

from typing import Any
from unittest.mock import Mock, call

import pytest

from study.errors import ConfigError, StudyError, TrackingError
from study.tracking import make_tracker, make_trackers
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tensorboard import TensorBoardTracker
from study.tracking.tracker import SyncResult
from study.tracking.tracker_group import TrackerGroup
from tests.tracking.test_tracker import Least
from tests.written_study import Written


def heard(name: str, **answers: Any) -> Mock:
    """Return a tracker that remembers its calls, and answers only those that are given."""
    tracker = Mock(wraps=Least(), title=name, packages=())
    tracker.name = name
    for method, answer in answers.items():
        getattr(tracker, method).side_effect = [answer]
    return tracker


def away(name: str) -> Mock:
    return heard(name, close={"search-0000": "away"})


def test_each_hears_everything_where_another_one_fails(
    study: Written, caplog: pytest.LogCaptureFixture
):
    config = study.trial(0)
    calls = [
        call.trial_started(config),
        call.trial_reported(config, 1, {"val_score": 0.1}),
        call.trial_ended(config, study.end(config), 0.1),
        call.rescan_trials(),
        call.register(),
        call.close(finished=True),
    ]
    mistakes = {name: ValueError("a mistake") for name, _, _ in calls}
    faulty, other = heard("faulty", **mistakes), heard("other")
    both = TrackerGroup([faulty, other])
    for name, arguments, options in calls:
        getattr(both, name)(*arguments, **options)
    assert faulty.mock_calls == other.mock_calls == calls
    assert caplog.text.count("Mock failed; the study goes on") == len(calls)


def test_a_trial_that_both_lack_is_told_once_with_both_reasons():
    both = TrackerGroup([away("one"), away("other")])
    assert both.close(finished=False) == {"search-0000": "one: away; other: away"}
    assert both.title == "one and other"


@pytest.mark.parametrize("count, told", [(1, "no room"), (2, "no room; no server")])
def test_faults_of_all_are_told_together(study: Written, count: int, told: str):
    trackers = [heard(name, sync=StudyError(name)) for name in ("no room", "no server")]
    with pytest.raises(StudyError) as fault:
        TrackerGroup(trackers[:count]).sync(study.study, lambda: None)
    assert str(fault.value) == told


def test_those_that_have_started_are_closed_where_another_cannot_start(study: Written):
    started, never = heard("started"), heard("never")
    absent = heard("absent", start=TrackingError("it is down"))
    with pytest.raises(TrackingError, match="it is down"):
        TrackerGroup([started, absent, never]).start(study.study)
    assert started.mock_calls == [call.start(study.study), call.close(finished=False)]
    assert never.mock_calls == []


def whole(name: str, resent: int) -> Mock:
    return heard(
        name,
        sync=SyncResult(3, resent),
        viewing_hints=[("page", name)],
        advice=f"{name} has copies",
    )


def test_all_are_asked_what_they_keep_and_those_that_keep_nothing_are_passed_over(
    study: Written,
):
    several = TrackerGroup([heard("heard"), whole("one", 3), whole("other", 5)])
    assert several.sync(study.study, lambda: None) == SyncResult(3, 5)
    assert several.viewing_hints() == [("page", "one"), ("page", "other")]
    assert several.advice() == "one has copies\nother has copies"


def test_one_that_fails_keeps_no_other_from_being_asked(study: Written):
    faulty, other = heard("faulty", sync=TrackingError("it is down")), whole("other", 0)
    with pytest.raises(TrackingError, match="it is down"):
        TrackerGroup([faulty, other]).sync(study.study, lambda: None)
    other.sync.assert_called_once()


@pytest.mark.parametrize(
    "trackers, told",
    [
        ([Least()], "takes results while a study runs"),
        ([], r"tracking\.trackers is empty"),
    ],
)
def test_where_none_can_answer_an_error_says_so(study: Written, trackers: list[Least], told: str):
    with pytest.raises(TrackingError, match=told):
        TrackerGroup(trackers).sync(study.study, lambda: None)


def test_without_trackers_a_study_is_told_nowhere(study: Written):
    none = make_tracker([])
    none.check(study.config)
    none.start(study.study)
    none.register()
    assert none.close(finished=True) == {}
    assert (none.title, list(none.viewing_hints())) == ("", [])


def test_one_name_is_that_tracker_and_several_are_one_tracker_of_them():
    assert isinstance(make_tracker(["mlflow"]), MlflowTracker)
    both = make_tracker(["mlflow", "tensorboard"])
    assert isinstance(both, TrackerGroup)
    assert both.packages == ["mlflow", "tensorboard"]
    kinds = [type(tracker) for tracker in make_trackers(["tensorboard", "mlflow"])]
    assert kinds == [TensorBoardTracker, MlflowTracker]


def test_a_tracker_that_was_handed_over_takes_the_place_of_its_name():
    given = Least()
    assert make_tracker(["least"], given) is given
    assert make_trackers(["mlflow", "least"], given)[1] is given
    with pytest.raises(ConfigError, match="'mlflow' is named, but 'least' of the trackers was"):
        make_tracker(["mlflow"], given)


def test_every_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ConfigError) as fault:
        make_tracker(["mlfow", "mlflow", "tensorbord"])
    assert str(fault.value) == (
        "'mlfow' is unknown (did you mean 'mlflow'?); allowed are mlflow, tensorboard; "
        "'tensorbord' is unknown (did you mean 'tensorboard'?); allowed are mlflow, tensorboard"
    )
