"""What good trials have in common is said with its doubts."""

import json
from pathlib import Path

from study.report.site_share_tables import share_sentences, share_table
from study.results.site_shares import BEST_TRIALS, site_shares
from study.results.study_results import read_results
from tests.changed_studies import WITH, WITHOUT, change_json, set_search


def test_what_is_more_frequent_is_named_and_the_rest_is_called_unknown(told_apart: Path) -> None:
    results = read_results(told_apart)
    more, rest, limits = share_sentences(results, site_shares(results))
    assert "vision.ln1 (90 % of the best 10, 50 % of all: +40.0 points" in more
    assert "+18.5 to +45.8" in more
    assert rest.startswith("For the other 12 sites the interval contains 0")
    assert "With so few trials the intervals are wide." in rest
    assert "one false finding in 20" in limits
    assert "Left out" not in limits


def test_trials_that_were_stopped_early_are_said_to_be_left_out(told_apart: Path) -> None:
    ends = [
        path
        for path in sorted(told_apart.glob("trials/search-*/end.json"))
        if json.loads(path.with_name("config.json").read_text())["arm"] == "search"
    ]
    for path in ends[-3:]:
        change_json(path, status="stopped")
    results = read_results(told_apart)
    *_, limits = share_sentences(results, site_shares(results))
    assert "of the 17 trials have in common" in limits
    assert "Left out are 3 trials that were stopped early" in limits


def test_what_is_less_frequent_is_named_too(few_shot_study: Path) -> None:
    subsets = [WITHOUT] * 10 + [WITH] * 10
    results = read_results(set_search(few_shot_study, subsets))
    less, *_ = share_sentences(results, site_shares(results))
    assert less.startswith("Less often in the best 10 than in all: vision.ln1 (0 % of the best 10,")


def test_where_nothing_stands_out_that_is_what_is_said(few_shot_study: Path) -> None:
    results = read_results(set_search(few_shot_study, [WITH] * 20))
    first, _ = share_sentences(results, site_shares(results))
    assert first.startswith("For all 13 sites the interval contains 0")


def test_too_few_finished_trials_are_not_compared(few_shot_study: Path) -> None:
    results = read_results(set_search(few_shot_study, [WITH] * BEST_TRIALS))
    (sentence,) = share_sentences(results, ())
    assert "10 of 24 trials ran all their epochs" in sentence
    assert share_table(()).rows == []


def test_the_table_is_in_percent_and_explains_each_site(told_apart: Path) -> None:
    table = share_table(site_shares(read_results(told_apart)))
    assert table.header[2:4] == ["of the best 10 %", "of all 20 %"]
    assert table.rows[0] == [
        *("vision.ln1", "the LayerNorms before the attention, image encoder"),
        *("90", "50", "+40.0", "[+18.5, +45.8]"),
    ]
