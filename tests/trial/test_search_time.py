"""The time of a search that counts: while anything worked."""

from study.trial.search_time import epochs_of, working_seconds


def test_what_was_spent_is_the_time_in_which_anything_worked():
    beside = [(0.0, 10.0), (10.0, 20.0), (5.0, 30.0)]
    assert working_seconds(beside) == 30
    assert working_seconds([*beside, (40.0, 50.0)]) == 50, "a worker that starts is no interruption"
    assert working_seconds([*beside, (1000.0, 1010.0)]) == 40
    assert working_seconds([]) == 0


def test_a_report_without_an_end_has_no_time():
    assert epochs_of([{"seconds": 3.0}, {"seconds": 3.0, "ended_at": 5.0}]) == [(2.0, 5.0)]
