"""The time of a search is that in which any trial trained."""

from study.trial.search_time import working_seconds


def test_what_is_done_side_by_side_counts_once_and_an_interruption_does_not_count():
    def seconds(*epochs: tuple[float, float]) -> float:
        return working_seconds(
            [{"seconds": end - begin, "ended_at": end} for begin, end in epochs] + [{"seconds": 9}]
        )

    beside = [(0.0, 10.0), (5.0, 30.0), (6.0, 8.0)]
    assert seconds(*beside) == 30
    assert seconds(*beside, (40.0, 50.0)) == 50, "a worker that starts is no interruption"
    assert seconds(*beside, (1000.0, 1010.0)) == 40
    assert seconds() == 0
