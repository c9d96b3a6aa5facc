"""What a tracker does of itself where only its three necessary methods are written."""

import pytest

from study.errors import ConfigError, TrackingError
from study.tracking import make_tracker
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tracker import Tracker, TrackerLines, describe_unsent, summarize_error
from study.trial.study import Study
from tests.written_study import Written

SECRET = "s3cr3t-passw0rd"


class Least(Tracker):
    """A tracker that writes nothing but the methods it must."""

    name = "least"
    changed = ""
    lacks = ""

    def start(self, study: Study):
        pass

    def trial_changed(self, trial_id: str):
        self.changed = trial_id

    def close(self, *, finished: bool) -> TrackerLines:
        return TrackerLines(self.lacks)


def test_a_tracker_needs_three_methods_and_is_told_of_each_change_of_a_trial(study: Written):
    tracker = Least()
    tracker.check(study.config)
    tracker.start(study.study)
    tracker.register()
    assert study.folder.read_registration() is None
    tracker.trial_started(study.whole(0))
    assert tracker.changed == "search-0000"
    assert (tracker.close(finished=True).hints, tracker.packages) == ((), ())


def test_any_tracker_can_be_sent_a_study_later_and_names_what_it_lacks(study: Written):
    study.whole(0)
    tracker = Least()
    assert tracker.sync(study.study) == 1
    tracker.lacks = "1 run:\n  search-0000: away"
    with pytest.raises(TrackingError, match=r"of study 'mine', the tracker lacks 1 run:\n.*away"):
        tracker.sync(study.study)


def test_without_a_tracker_a_study_is_sent_nowhere(study: Written):
    none = make_tracker("none")
    none.check(study.config)
    none.start(study.study)
    none.register()
    assert none.close(finished=True) == ("", ())
    assert none.title == ""
    with pytest.raises(TrackingError, match=r"tracking\.tracker is none"):
        none.sync(study.study)


def test_a_tracker_is_found_by_its_name_or_handed_over():
    assert isinstance(make_tracker("mlflow"), MlflowTracker)
    given = Least()
    assert make_tracker("least", given) is given
    with pytest.raises(ConfigError, match="'mlflow' is named, but 'least' of the trackers was"):
        make_tracker("mlflow", given)
    with pytest.raises(ConfigError, match=r"did you mean 'mlflow'\?"):
        make_tracker("mlfow")


def test_what_is_unsent_is_counted_and_each_reason_told_once():
    assert describe_unsent({"a": "away"}) == "1 run:\n  a: away"
    many = {f"t{number}": "away" for number in range(12)} | {"t3": "refused"}
    assert describe_unsent(many) == ("12 runs:\n  t0, t1, t2 and 8 more: away\n  t3: refused")


def test_an_error_is_one_line_without_its_password():
    told = summarize_error(ValueError(f"cannot open db://me:{SECRET}@host\n[SQL: SELECT 1]"))
    assert told == "ValueError: cannot open db://***@host"
    assert summarize_error(ValueError()) == "ValueError: ValueError()"
    assert summarize_error(ValueError("word " * 99)).endswith("word word …")


@pytest.mark.parametrize("call", ["one", "other"])
def test_a_server_that_is_away_is_told_alike_whatever_was_asked_of_it(call: str):
    failure = ValueError(f"call {call} failed")
    failure.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert summarize_error(failure) == "ValueError: [Errno 111] Connection refused"
