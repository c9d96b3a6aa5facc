"""A score and a difference are said with how sure they are."""

from dataclasses import replace

import pytest

from study.report.judgements import judge, judgement
from study.results.statistics import MeanInterval, mean_interval

BETTER = replace(mean_interval([0.10, 0.11, 0.12]), holm_p=0.01)


@pytest.mark.parametrize(
    "difference, said",
    [
        (mean_interval([0.1]), "not tested"),
        (replace(BETTER, holm_p=None), "not tested"),
        (replace(mean_interval([-0.1, 0.02, 0.11]), holm_p=0.9), "not significant"),
        (BETTER, "significantly better"),
        (replace(BETTER, mean=-0.11), "significantly worse"),
        (
            replace(BETTER, holm_p=0.2),
            "better by its own interval, but not once corrected for the number of tests",
        ),
    ],
)
def test_a_difference_is_judged_by_its_interval_and_its_corrected_p(
    difference: MeanInterval, said: str
):
    assert judgement(difference) == said
    assert judge(difference).startswith(said)
