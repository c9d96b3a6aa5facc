"""What good trials have in common is said with its doubts."""

import json
from pathlib import Path

import pytest

from study.report.site_share_tables import share_sentences, share_table
from study.results.site_shares import BEST_TRIALS, site_shares
from study.results.study_results import read_results
from tests.changed_studies import WITH, WITHOUT, change_json, set_search
from tests.report.conftest import AsKept


@pytest.mark.parametrize(
    "name, subsets, stopped",
    [
        ("more", [*[WITH] * 9, WITHOUT, WITH, *[WITHOUT] * 9], 0),
        ("more-of-those-that-finished", [*[WITH] * 9, WITHOUT, WITH, *[WITHOUT] * 9], 3),
        ("less", [WITHOUT] * 10 + [WITH] * 10, 0),
        ("all-alike", [WITH] * 20, 0),
        ("of-too-few", [WITH] * BEST_TRIALS, 0),
    ],
)
def test_what_is_told_of_the_sites_of_the_best_is_what_was_kept(
    few_shot_study: Path, as_kept: AsKept, name: str, subsets: list[str], stopped: int
):
    set_search(few_shot_study, subsets)
    ends = []
    for path in sorted(few_shot_study.glob("trials/search-*/end.json")):
        if json.loads(path.with_name("config.json").read_text())["arm"] == "search":
            ends.append(path)
    for path in ends[len(ends) - stopped :]:
        change_json(path, status="stopped")
    results = read_results(few_shot_study)
    shares = site_shares(results)
    sentences = share_sentences(results, shares)
    as_kept(f"sites-{name}", "\n".join([*sentences, share_table(shares).markdown()]))
