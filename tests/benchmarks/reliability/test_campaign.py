"""A campaign of faults draws alike, and no difference of two studies is passed over."""

from functools import partial
from typing import Any

import pytest

from tests.benchmarks.reliability.campaign import (
    UNAVAILABLE,
    draw_fault,
    summary,
    wrong_end,
)
from tests.benchmarks.reliability.campaign_faults import FAULTS
from tests.benchmarks.reliability.campaign_study import KINDS, differences

TWIN: dict[str, Any] = {
    "trials": {"a": [1], "b": [2]},
    "candidates": ["a"],
    "runs": {"": [["FINISHED"]], "a": [["FINISHED"]]},
}


def test_every_fault_and_kind_is_drawn_alike_each_time() -> None:
    draws = [draw_fault(number, 1)[0] for number in range(200)]
    assert {draw.fault for draw in draws} == FAULTS.keys()
    assert {draw.kind for draw in draws} == KINDS.keys()
    (first, chance), (again, its) = draw_fault(17, 1), draw_fault(17, 1)
    assert first == again != draw_fault(17, 2)[0]
    assert chance.random() == its.random()


@pytest.mark.parametrize(
    "changes, line",
    [
        ({"trials": {"a": [1]}}, "/trials/b/0 is missing, in the other 2"),
        ({"trials": {**TWIN["trials"], "c": []}}, "/trials/c/length is 0, in the other missing"),
        ({"candidates": ["b"]}, "/candidates/0 is b, in the other a"),
        ({"runs": {"a": [["FINISHED"]]}}, "/runs//length is missing, in the other 1"),
        (
            {"runs": {**TWIN["runs"], "a": [["KILLED"]]}},
            "/runs/a/0/0 is KILLED, in the other FINISHED",
        ),
    ],
)
def test_no_difference_of_two_studies_is_passed_over(changes: dict[str, Any], line: str) -> None:
    assert not [*differences(TWIN, TWIN)]
    assert line in [*differences({**TWIN, **changes}, TWIN)]


def test_a_study_says_how_to_go_on_unless_it_was_killed() -> None:
    wrong = partial(wrong_end, begun=True)
    assert wrong(0, "") == wrong(-9, "") == wrong(130, "go on by resume mine") == []
    assert wrong(2, "resume mine") == wrong_end(2, "it cannot start", begun=False) == []
    for status in (2, 130):
        assert wrong(status, "a traceback")[0].startswith("no word of how to go on")
    assert wrong(1, "resume mine")[0].startswith("it ended with 1")


def test_a_fault_that_the_machine_cannot_make_is_not_counted_as_passed() -> None:
    passed = {"fault": "clock jumps", "did": "the clock jumped", "resumes": 0, "wrong": []}
    message = summary([passed, {**passed, "did": f"{UNAVAILABLE}: no libfaketime"}])
    assert "1 faults met studies, 0 failed; at most 95.0 %" in message
    assert "at most" not in summary([{**passed, "did": UNAVAILABLE}])
