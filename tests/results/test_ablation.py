"""An ablation's cells are paired with the base by seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.config.trial_settings import TrialSettings
from study.results.study_result import read_study_result
from study.results.trial_results import seed_scores
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def test_cells_are_sorted_paired_with_the_base_and_corrected_together(ablation_study: Path):
    ExampleStudy(ablation_study).forget_images()
    result = read_study_result(ablation_study)
    ablation = not_none(result.ablation)
    means = [cell.score.mean for cell in ablation.cells]
    assert means == sorted(means, reverse=True)
    base_cell = not_none(ablation.base)
    assert (base_cell.comparison, base_cell.trainable) == (None, 5_120)
    assert base_cell.seconds == pytest.approx(18)
    scores = {
        label: [*seed_scores(t for t in result.stage("ablation") if t.label == label).values()]
        for label in (cell.label for cell in ablation.cells)
    }
    compared = [cell for cell in ablation.cells if cell is not base_cell]
    tests = [stats.ttest_rel(scores[cell.label], scores["base"]) for cell in compared]
    corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
    for cell, test, holm_p in zip(compared, tests, corrected, strict=True):
        found = not_none(cell.comparison)
        assert found.mean == pytest.approx(cell.score.mean - np.mean(scores["base"]))
        assert (found.p_value, found.holm_p) == pytest.approx((test.pvalue, holm_p))
        assert (cell.label in ablation.different) == (holm_p <= 0.05)
    differences = [*map(abs, ablation.different.values())]
    assert differences == sorted(differences, reverse=True)
    assert 0 < len(differences) < len(compared)


def test_trials_that_did_not_finish_or_belong_to_other_stages_are_left_out(
    few_shot_study: Path, ablation_study: Path
):
    ExampleStudy(ablation_study).fail("ablation-0-seed1")
    result = read_study_result(ablation_study)
    more = read_study_result(few_shot_study).trial_results
    ablation = not_none((replace(result, trial_results=[*result.trial_results, *more])).ablation)
    assert len(ablation.cells) == 7
    assert not_none(ablation.cells[0].comparison).n == 4


@pytest.mark.parametrize("times, is_unstable", [(3.9, False), (4.1, True)])
def test_a_cell_is_unstable_beyond_four_times_the_spread_of_the_median_cell(
    ablation_study: Path, times: float, is_unstable: bool
):
    result = read_study_result(ablation_study)
    *cells, last = not_none(result.ablation).cells
    median = sorted(not_none(cell.score.sd) for cell in cells)[len(cells) // 2]
    trials = []
    for trial in result.trial_results:
        # Of five seeds one is as far below the mean as another one is above.
        distance = {1: -1, 5: 1}.get(trial.seed, 0) * times * median * 2**0.5
        changes = {"test": {"score": 0.7 + distance}} if trial.label == last.label else {}
        trials.append(trial.model_copy(update=changes))
    ablation = not_none((replace(result, trial_results=trials)).ablation)
    assert [cell.label for cell in ablation.unstable] == [last.label] * is_unstable


@pytest.mark.parametrize(
    "rates, edges",
    [
        ([(1.0, 1.0), (0.1, 0.1), (10.0, 10.0)], {}),
        ([(1.0, 1.0), (10.0, 10.0)], {"bias": "lowest", "ln": "lowest"}),
        ([(1.0, 1.0)], {}),
        ([(0.2, 0.3), (0.2, 0.1), (0.1, 0.3), (0.1, 0.1), (0.4, 0.3)], {"ln": "highest"}),
    ],
)
def test_rates_at_the_end_of_what_was_tried_are_flagged(
    ablation_study: Path, rates: list[tuple[float, float]], edges: dict[str, str]
):
    """The first of the tried rates are those of the cell."""
    tried = [
        TrialSettings(subset="text.bias + text.ln", rates={"bias": bias, "ln": ln})
        for bias, ln in rates
    ]
    result, label = read_study_result(ablation_study), "only text.attn.v.bias"
    trials = [
        trial.model_copy(update={"settings": tried[0]} if trial.label == label else {})
        for trial in result.trial_results
    ]
    cell = next(trial for trial in trials if trial.label == label)
    for number, settings in enumerate(tried):
        changes = {"stage": "search", "trial_id": f"search-{number}", "settings": settings}
        trials.append(cell.model_copy(update=changes))
    found = {
        cell.label: cell.rate_edges
        for cell in not_none(replace(result, trial_results=trials).ablation).cells
    }
    assert (found["base"], found[label]) == ({}, edges)
