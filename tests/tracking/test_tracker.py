"""A tracker by its name, and the lines that say what it lacks and why."""

from concurrent.futures import Future
from unittest.mock import Mock, call

from study.tracking import make_tracker
from study.tracking.tracker import TrackerObserver, describe_unsent, summarize_error
from tests.study_writer import StudyWriter

SECRET = "s3cr3t-passw0rd"


def test_a_tracker_is_notified_of_changes_of_trials_and_none_does_nothing(study: StudyWriter):
    tracker = make_tracker("none")
    tracker.check(study.config)
    tracker.start(study.study)
    tracker.trial_changed("search-0000")
    tracker.register()
    assert (tracker.title, tracker.close(finished=True)) == ("", ("", ()))
    notified, start = Mock(), Future[None]()
    observer = TrackerObserver(notified, start)
    observer.trial_started(study.whole(0))
    notified.trial_changed.assert_not_called()
    start.set_result(None)
    observer.trial_reported(study.whole(1), 1, {})
    assert notified.trial_changed.mock_calls == [call("search-0000"), call("search-0001")]


def test_unsent_runs_are_counted_and_each_reason_is_listed_once():
    assert describe_unsent({"a": "away"}) == "1 run:\n  a: away"
    many = {f"t{number}": "away" for number in range(12)} | {"t3": "refused"}
    assert describe_unsent(many) == ("12 runs:\n  t0, t1, t2 and 8 more: away\n  t3: refused")


def test_an_error_is_one_line_without_its_password_that_names_a_network_failure():
    error = ValueError(f"cannot open db://me:{SECRET}@host\n[SQL: SELECT 1]")
    assert summarize_error(error) == "ValueError: cannot open db://***@host"
    assert summarize_error(ValueError()) == "ValueError: ValueError()"
    assert summarize_error(ValueError("word " * 99)).endswith("word word …")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert summarize_error(error) == "ValueError: [Errno 111] Connection refused"
