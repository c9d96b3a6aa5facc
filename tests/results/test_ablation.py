"""An ablation's cells are paired with the base by seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.config.trial_settings import TrialSettings
from study.results.study_result import StudyResult, read_study_result
from study.results.trial_results import seed_scores
from study.storage.result_folder import JsonObject
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def test_cells_are_sorted_paired_with_the_base_and_corrected_together(
    ablation_study: Path,
):
    ExampleStudy(ablation_study).forget_images()
    result = read_study_result(ablation_study)
    table = not_none(result.ablation)
    means = [cell.score.mean for cell in table.cells]
    assert means == sorted(means, reverse=True)
    base_cell = not_none(table.base)
    assert (base_cell.comparison, base_cell.trainable) == (None, 5_120)
    assert base_cell.seconds == pytest.approx(18)
    scores = {
        label: [*seed_scores(t for t in result.stage("ablation") if t.label == label).values()]
        for label in (cell.label for cell in table.cells)
    }
    base = scores["base"]
    compared = [cell for cell in table.cells if cell is not base_cell]
    tests = [stats.ttest_rel(scores[cell.label], base) for cell in compared]
    corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
    for cell, test, holm_p in zip(compared, tests, corrected, strict=True):
        found = not_none(cell.comparison)
        assert found.mean == pytest.approx(cell.score.mean - np.mean(base))
        assert (found.p_value, found.holm_p) == pytest.approx((test.pvalue, holm_p))
    differences = [*map(abs, table.different.values())]
    assert 0 < len(differences) < len(compared)
    assert differences == sorted(differences, reverse=True)
    for cell, holm_p in zip(compared, corrected, strict=True):
        assert (cell.label in table.different) == (holm_p <= 0.05)


def test_trials_that_did_not_finish_or_belong_to_other_stages_are_left_out(
    few_shot_study: Path, ablation_study: Path
):
    ExampleStudy(ablation_study).fail("ablation-0-seed1")
    results = read_study_result(ablation_study)
    more = read_study_result(few_shot_study).trial_results
    table = not_none((replace(results, trial_results=[*results.trial_results, *more])).ablation)
    assert len(table.cells) == 7
    assert not_none(table.cells[0].comparison).n == 4


@pytest.mark.parametrize("times, is_unstable", [(3.9, False), (4.1, True)])
def test_a_cell_is_unstable_beyond_four_times_the_spread_of_the_median_cell(
    ablation_study: Path, times: float, is_unstable: bool
):
    results = read_study_result(ablation_study)
    *cells, spread_cell = not_none(results.ablation).cells
    median = sorted(not_none(cell.score.sd) for cell in cells)[len(cells) // 2]
    trials = []
    for trial in results.trial_results:
        if trial.label == spread_cell.label:
            # Of five seeds one is as far below the mean as another one is above.
            distance = {1: -1, 5: 1}.get(trial.seed, 0) * times * median * 2**0.5
            trial = trial.model_copy(update={"test": {"score": 0.7 + distance}})
        trials.append(trial)
    table = not_none((replace(results, trial_results=trials)).ablation)
    assert [cell.label for cell in table.unstable] == [spread_cell.label] * is_unstable


def searched(results: StudyResult, label: str, *rates: dict[str, float]) -> StudyResult:
    """Let a cell be chosen from trials at rates by kind, of which its own are the first."""
    trials = []
    for trial in results.trial_results:
        own = TrialSettings(subset="text.bias + text.ln", rates=rates[0])
        changes: JsonObject = {"settings": own} if trial.label == label else {}
        trials.append(trial.model_copy(update=changes))
    cell = next(trial for trial in trials if trial.label == label)
    for number, tried in enumerate(rates):
        settings = TrialSettings(subset="text.bias + text.ln", rates=tried)
        changes = {"stage": "search", "trial_id": f"search-{number}", "settings": settings}
        trials.append(cell.model_copy(update=changes))
    return replace(results, trial_results=tuple(trials))
