"""An ablation's cells are paired with the base by seed, and pairs of sites are found among them."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.errors import DataError
from study.method.subsets import parse
from study.results.ablation import ablation_table, left_out_term, only_term
from study.results.study_results import Results, read_results
from study.storage.ledger_files import JsonObject
from study.trial.study import Study
from tests.case_tables import from_table
from tests.changed_studies import change_json, forget_images
from tests.not_none import not_none


def test_cells_are_sorted_paired_with_the_base_and_corrected_together(
    ablation_study: Path,
):
    table = ablation_table(read_results(forget_images(ablation_study)))
    means = [cell.score.mean for cell in table.cells]
    assert means == sorted(means, reverse=True)
    base_cell = not_none(table.base)
    assert (base_cell.comparison, base_cell.trainable) == (None, 5_120)
    assert base_cell.seconds == pytest.approx(18)
    base = list(base_cell.scores.values())
    compared = [cell for cell in table.cells if cell is not base_cell]
    tests = [stats.ttest_rel(list(cell.scores.values()), base) for cell in compared]
    corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
    for cell, test, holm_p in zip(compared, tests, corrected, strict=True):
        found = not_none(cell.comparison)
        assert found.mean == pytest.approx(cell.score.mean - np.mean(base))
        assert (found.p_value, found.holm_p) == pytest.approx((test.pvalue, holm_p))


def test_a_base_without_scores_is_an_error_that_names_the_cells(ablation_study: Path):
    with pytest.raises(DataError, match=r"'nothing' has no score; cells with one: base, only"):
        ablation_table(read_results(ablation_study), "nothing")


def test_trials_that_did_not_finish_or_belong_to_other_stages_are_left_out(
    few_shot_study: Path, ablation_study: Path
):
    change_json(ablation_study / "trials/ablation-0-seed1/end.json", status="failed")
    results = read_results(ablation_study)
    more = read_results(few_shot_study).trials
    table = ablation_table(replace(results, trials=[*results.trials, *more]))
    assert len(table.cells) == 7
    assert not_none(table.cells[0].comparison).n == 4


def with_rates(results: Results, rates: object, **more: object) -> Results:
    """Let the results be of an ablation with these rates."""
    ablation = {"design": "only_one", "rates": rates, **more}
    return replace(results, study=Study(build_config({"ablation": ablation}, "t"), results.folder))


def searched(results: Results, label: str, *rates: dict[str, float]) -> Results:
    """Let a cell be chosen from trials at rates by kind, of which its own are the first."""
    trials = []
    for trial in results.trials:
        own = TrialSettings(subset="text.bias + text.ln", rates=rates[0])
        changes: JsonObject = {"settings": own} if trial.label == label else {}
        trials.append(trial.model_copy(update=changes))
    cell = next(trial for trial in trials if trial.label == label)
    for number, tried in enumerate(rates):
        settings = TrialSettings(subset="text.bias + text.ln", rates=tried)
        changes = {"stage": "search", "trial_id": f"search-{number}", "settings": settings}
        trials.append(cell.model_copy(update=changes))
    return replace(results, trials=tuple(trials))


@from_table
def test_a_cell_of_a_single_term_is_about_that_term(subset: str, term: str | None):
    found = only_term(subset)
    assert (None if found is None else str(found)) == term


@from_table
def test_a_left_out_term_is_found_from_the_base(subset: str, term: str | None):
    found = left_out_term(subset, "text.bias + vision.ln1 + vision.ln2")
    assert (None if found is None else str(found)) == term


BOTH = "text.ln1 + vision.ln2"
FOUR = {
    "none": (0.50, 0.52, 0.51),
    "text.ln1": (0.60, 0.61, 0.62),
    "vision.ln2": (0.70, 0.74, 0.72),
    BOTH: (0.85, 0.88, 0.87),
}
"""Test scores of three seeds; in log-odds on 480 images they interact by 0.519."""


def of_pairs(
    results: Results, scores: Mapping[str, tuple[float, ...]], base: str = "bitfit", **more: object
) -> Results:
    """An ablation of pairs with the scores of each subset's seeds, one of which is the base."""
    trials = []
    for number, (subset, values) in enumerate(scores.items()):
        for seed, score in enumerate(values, 1):
            changes = {
                "trial_id": f"ablation-{seed}{number:03d}",
                "label": "base" if subset == base else f"only {subset}",
                "settings": TrialSettings(subset=str(parse(subset))),
                "subset_key": subset,
                "seed": seed,
                "test": {"score": score},
            }
            trials.append(results.trials[0].model_copy(update=changes))
    return with_rates(replace(results, trials=tuple(trials)), [0.1], **{"design": "pairs", **more})


PAIRS = FOUR | {"bitfit": (0.9, 0.91, 0.92)}
SITES = ["text.ln1", "vision.ln2"]


def validated(results: Results, scores: dict[str, float]) -> Results:
    """Let each subset have a validation score, and a lower one at other rates."""
    cell, trials = results.trials[0], []
    for number, (subset, score) in enumerate(scores.items()):
        for rates, val in (({}, score), ({"ln": 0.9}, 0.99)):
            changes = {
                "trial_id": f"search-{number}{len(rates)}",
                "stage": "search",
                "settings": TrialSettings(subset=str(parse(subset)), rates=rates),
                "subset_key": subset,
                "val": {"score": val},
                "test": {},
            }
            trials.append(cell.model_copy(update=changes))
    return replace(results, trials=(*results.trials, *trials))


def test_the_better_site_is_named_by_validation_at_the_rates_of_the_cell(
    ablation_study: Path,
):
    results = of_pairs(read_results(ablation_study), PAIRS, sites=SITES)
    (pair,) = ablation_table(results).interactions
    assert [gain.mean for gain in pair.gains] == pytest.approx([0.1, 0.21, 0.3566667])
    assert not_none(pair.interaction).mean == pytest.approx(0.5191731)
    assert (pair.better, pair.gain_over_better) == (None, None)
    scores = {"none": 0.5, "text.ln1": 0.7, "vision.ln2": 0.6, BOTH: 0.8}
    (pair,) = ablation_table(validated(results, scores)).interactions
    assert pair.better == "text.ln1"
    assert not_none(pair.gain_over_better).mean == pytest.approx(0.3566667 - 0.1)


def test_only_seeds_of_all_four_cells_count(ablation_study: Path):
    scores = PAIRS | {"vision.ln2": FOUR["vision.ln2"][:2]}
    results = read_results(ablation_study)
    (pair,) = ablation_table(of_pairs(results, scores, sites=SITES)).interactions
    assert not_none(pair.interaction).n == 2
    assert pair.gains[0].mean == pytest.approx((0.1 + 0.09) / 2)
    missing = {subset: values for subset, values in PAIRS.items() if subset != "none"}
    assert ablation_table(of_pairs(results, missing, sites=SITES)).interactions == []


MORE = PAIRS | {
    "text.bias": (0.55, 0.56, 0.56),
    "text.bias + text.ln1": (0.65, 0.65, 0.68),
    "text.bias + vision.ln2": (0.74, 0.78, 0.78),
}


@pytest.mark.parametrize(
    "site, base",
    [("text.ln1", "text.ln1"), ("text.ln - text.ln2", "bitfit"), ("text.ln1", BOTH)],
)
def test_a_site_and_a_pair_may_be_the_base_itself_or_have_several_terms(
    ablation_study: Path, site: str, base: str
):
    scores = PAIRS | {site: FOUR["text.ln1"], f"{site} + vision.ln2": FOUR[BOTH]}
    sites = [site, "vision.ln2"]
    results = of_pairs(read_results(ablation_study), scores, base=base, sites=sites)
    (pair,) = ablation_table(results).interactions
    assert pair.sites == (site, "vision.ln2")
    assert [gain.mean for gain in pair.gains] == pytest.approx([0.1, 0.21, 0.3566667])


def test_without_a_list_the_sites_are_the_single_ones(ablation_study: Path):
    results = of_pairs(read_results(ablation_study), MORE)
    found = {frozenset(pair.sites) for pair in ablation_table(results).interactions}
    assert found == {frozenset(pair) for pair in combinations(("text.bias", *SITES), 2)}
