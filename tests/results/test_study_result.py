"""A study is summarized: rows, planned comparisons, classes and the final model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult, read_study_result
from study.results.trial_results import seed_scores
from tests.example_studies import SEEDS, ExampleStudy
from tests.not_none import not_none

FULL = {"method": "full", "lr": 1e-4}


def against(result: StudyResult, one: str, other: str) -> MeanInterval:
    """The difference between two candidates."""
    pair = not_none(result.find_row(one)), not_none(result.find_row(other))
    return not_none(result.difference(*pair))


def test_the_best_configuration_is_selected_by_validation_not_the_best_on_test(
    make_study: Callable[..., Path],
):
    result = read_study_result(make_study(edge=-0.015))
    assert not_none(result.best).label == "best"
    assert result.rows[0].label != "best"


def test_a_comparison_is_the_paired_t_test_over_the_seeds_that_both_have(few_shot_study: Path):
    ExampleStudy(few_shot_study).forget_images()
    (few_shot_study / "trials/test-best-seed3/reports.jsonl").write_text('{"epoch": 1}\n')
    result = read_study_result(few_shot_study)
    best = not_none(result.find_row("best"))
    assert (best.test.n, best.test_trial_count) == (4, 5)
    found = against(result, "best", "clipfit-tuned")
    scores = (seed_scores(result.test_trials(label)) for label in ("best", "clipfit-tuned"))
    own, tuned = ([of[seed] for seed in SEEDS if seed != 3] for of in scores)
    assert (found.n, found.mean) == (4, pytest.approx(np.mean(own) - np.mean(tuned)))
    assert found.p_value == pytest.approx(stats.ttest_rel(own, tuned).pvalue)


def test_the_best_other_method_is_the_best_by_validation_that_tunes_no_subset(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    study.add_candidate("linear", 0.03, val_score=0.6, head="linear")
    study.add_candidate("full", -0.03, val_score=0.61, method=FULL)
    for label, expected in (("best", "full"), ("full", "linear"), ("linear", "zero-shot")):
        study.change_candidate(label, val_score=None)
        assert read_study_result(few_shot_study).rivals == ["clipfit-tuned", expected]


def test_comparisons_that_an_earlier_selection_planned_are_tests_as_well(few_shot_study: Path):
    ExampleStudy(few_shot_study).add_candidate("linear", 0.005, val_score=0.6, head="linear")
    alone = read_study_result(few_shot_study).comparisons
    candidates = json.loads((few_shot_study / "candidates.json").read_text())
    earlier = [one | {"search_trials": 24} for one in candidates if one["label"] != "best"]
    for one in earlier:
        if one["label"] == "third":  # was the best when there were fewer trials
            one["label"] = "best"
    # With the same best, another method was the best before.
    later = [one | {"search_trials": 30} for one in candidates if one["label"] != "linear"]
    entries = [
        {"from": 24, "to": 30, "candidates": earlier, "final": None},
        {"from": 30, "to": 35, "candidates": later, "final": None},
    ]
    (few_shot_study / "extensions.json").write_text(json.dumps(entries))
    compared = read_study_result(few_shot_study).comparisons
    assert compared.keys() == alone.keys()
    for label, difference in compared.items():
        assert difference.p_value == alone[label].p_value
        assert not_none(difference.holm_p) >= not_none(alone[label].holm_p)
    assert any(one.holm_p != alone[label].holm_p for label, one in compared.items())


def test_tuned_rates_that_are_the_published_ones_are_compared_once_for_both(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    settings = study.candidates["clipfit"].settings
    study.change_candidate("clipfit-tuned", settings=settings, training="clipfit")
    result = read_study_result(few_shot_study)
    clipfit = not_none(result.find_row("clipfit-tuned"))
    assert clipfit.labels == ["clipfit", "clipfit-tuned"]
    assert result.difference(clipfit, result.find_row("clipfit")) is None
    assert against(result, "best", "clipfit-tuned") == against(result, "best", "clipfit")


def test_recalls_and_confusions_follow_from_predictions(predicted: Path):
    result = read_study_result(predicted)
    classes = result.classes
    assert [(row.name, row.before, row.after) for row in classes.rows] == [
        ("a", 0.5, 8 / 12),
        ("b", 0.5, 11 / 12),
    ]
    confused = [(p.true, p.predicted, p.before, p.after, p.count) for p in classes.confused]
    assert confused == [("a", "b", 0.5, 4 / 12, 4), ("b", "a", 0.5, 1 / 12, 1)]
    assert result.chance == 0.5
    (predicted / "trials/test-zero-shot-seed1/predictions.parquet").unlink()
    classes = read_study_result(predicted).classes
    assert {row.before for row in classes.rows} == {None}
    assert {pair.before for pair in classes.confused} == {None}


def test_a_final_training_has_an_interval_over_images_alone(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    assert not_none(read_study_result(few_shot_study).final).trial is None, "images are the shots"
    study.add_final("labelled")
    result = read_study_result(few_shot_study)
    final = not_none(result.final)
    assert final.row is result.best
    assert final.images == 60
    test, trial = not_none(final.test), not_none(final.trial)
    assert (test.n, test.interval) == (1, not_none(test.images))
    assert all(trial.trial_id not in row.labels for row in result.rows)
    study.fail(trial.trial_id)
    assert not_none(read_study_result(few_shot_study).final).trial is None
