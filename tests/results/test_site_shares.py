"""The sites of the best trials are compared with those of all that finished."""

from pathlib import Path

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from study.results.site_shares import added_sites, site_shares
from study.results.study_results import read_results


def test_the_best_are_compared_with_all_that_finished(told_apart: Path):
    results = read_results(told_apart)
    rows = {row.site: row for row in site_shares(results)}
    row = rows["vision.ln1"]
    assert (row.tuned_in_best, row.tuned_in_all, row.all_trials) == (9, 10, 20)
    assert row.difference == pytest.approx(0.9 - 0.5)
    # The nine of ten against one of ten others, halved, as half of all are others.
    known = confint_proportions_2indep(9, 10, 1, 10, method="newcomb")
    assert (row.interval.low, row.interval.high) == pytest.approx([end / 2 for end in known])
    assert rows["text.mlp.fc2.bias"].difference == 0.0
    assert rows["vision.ln_pre"].tuned_in_best == rows["vision.ln_pre"].tuned_in_all == 0
    assert len(rows) == len(results.study.config.search.space.sites)
    assert next(iter(rows)) == "vision.ln1"


def test_the_sites_of_a_subset_are_those_that_it_adds_in_any_layers():
    assert added_sites("text.bias[0:2] + vision.ln - vision.ln1") == {"text.bias", "vision.ln"}
