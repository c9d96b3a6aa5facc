"""A study is summarized: rows, planned comparisons, classes, the final model, validation."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult, read_study_result
from study.results.trial_results import seed_scores
from tests.example_studies import CLASSES, SEEDS, ExampleStudy
from tests.not_none import not_none

FULL = {"method": "full", "lr": 1e-4}


def against(board: StudyResult, one: str, other: str) -> MeanInterval:
    """The difference between two candidates."""
    pair = not_none(board.find_row(one)), not_none(board.find_row(other))
    return not_none(board.difference(*pair))


def test_the_best_configuration_is_the_choice_of_validation_not_the_best_on_test(
    make_study: Callable[..., Path],
):
    board = read_study_result(make_study(edge=-0.015))
    assert not_none(board.best).label == "best"
    assert board.rows[0].label != "best"


def test_a_comparison_without_images_is_the_paired_t_test_over_seeds(few_shot_study: Path):
    ExampleStudy(few_shot_study).forget_images()
    board = read_study_result(few_shot_study)
    found = against(board, "best", "clipfit-tuned")
    scores = (seed_scores(board.test_trials(label)) for label in ("best", "clipfit-tuned"))
    best, tuned = ([own[seed] for seed in SEEDS] for own in scores)
    assert found.mean == pytest.approx(np.mean(best) - np.mean(tuned))
    assert found.p_value == pytest.approx(stats.ttest_rel(best, tuned).pvalue)


def test_the_best_other_method_is_the_best_by_validation_that_tunes_no_subset(
    few_shot_study: Path,
):
    ExampleStudy(few_shot_study).add_candidate("linear", 0.03, val_score=0.6, head="linear")
    ExampleStudy(few_shot_study).add_candidate("full", -0.03, val_score=0.61, method=FULL)
    for label, expected in (("best", "full"), ("full", "linear"), ("linear", "zero-shot")):
        ExampleStudy(few_shot_study).change_candidate(label, val_score=None)
        assert read_study_result(few_shot_study).rivals == ["clipfit-tuned", expected]


@pytest.mark.parametrize("effect", [0.005, -0.3])
def test_the_closer_of_the_planned_rivals_comes_first(few_shot_study: Path, effect: float):
    ExampleStudy(few_shot_study).add_candidate("linear", effect, val_score=0.6, head="linear")
    compared = read_study_result(few_shot_study).comparisons
    assert compared.keys() == {"clipfit-tuned", "linear"}
    means = [difference.mean for difference in compared.values()]
    assert means == sorted(means)


def test_comparisons_that_an_earlier_choice_planned_are_tests_as_well(few_shot_study: Path):
    ExampleStudy(few_shot_study).add_candidate("linear", 0.005, val_score=0.6, head="linear")
    alone = read_study_result(few_shot_study).comparisons
    candidates = json.loads((few_shot_study / "candidates.json").read_text())
    earlier = [one | {"search_trials": 24} for one in candidates if one["label"] != "best"]
    for one in earlier:
        if one["label"] == "third":  # was the best when there were fewer trials
            one["label"] = "best"
    entry = {"from": 24, "to": 30, "candidates": earlier, "final": None}
    (few_shot_study / "extensions.json").write_text(json.dumps([entry]))
    compared = read_study_result(few_shot_study).comparisons
    assert compared.keys() == alone.keys()
    for label, difference in compared.items():
        assert difference.p_value == alone[label].p_value
        assert not_none(difference.holm_p) >= not_none(alone[label].holm_p)
    assert any(one.holm_p != alone[label].holm_p for label, one in compared.items())


def test_as_many_right_images_are_a_tie_which_the_choice_leads(few_shot_study: Path):
    for seed in SEEDS:
        for label, right in (("best", 830 + seed), ("third", 833)):
            path = few_shot_study / f"trials/test-{label}-seed{seed}/reports.jsonl"
            score = round(right / 901, 12)
            report = {"epoch": 12, "test_accuracy": score, "test_score": score}
            path.write_text(json.dumps(report) + "\n")
    board = read_study_result(few_shot_study)
    best, third = board.find_row("best"), board.find_row("third")
    assert not_none(best).test.mean == not_none(third).test.mean == pytest.approx(833 / 901)
    assert board.rows.index(best) < board.rows.index(third)


def test_tuned_rates_that_are_the_published_ones_are_compared_once_for_both(
    few_shot_study: Path,
):
    study = ExampleStudy(few_shot_study)
    settings = study.candidates["clipfit"].settings
    study.change_candidate("clipfit-tuned", settings=settings, training="clipfit")
    board = read_study_result(few_shot_study)
    clipfit = not_none(board.find_row("clipfit-tuned"))
    assert clipfit.labels == ["clipfit", "clipfit-tuned"]
    assert board.difference(clipfit, board.find_row("clipfit")) is None
    assert against(board, "best", "clipfit-tuned") == against(board, "best", "clipfit")


def test_a_seed_that_failed_is_missing_from_means_and_pairs(few_shot_study: Path):
    (few_shot_study / "trials/test-best-seed3/reports.jsonl").write_text('{"epoch": 1}\n')
    board = read_study_result(few_shot_study)
    entry = not_none(board.find_row("best"))
    assert (entry.test.n, entry.test_trial_count) == (4, 5)
    assert against(board, "best", "clipfit-tuned").n == 4


def test_each_head_has_an_interval_over_seeds_and_images(few_shot_study: Path):
    for path in few_shot_study.glob("trials/test-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        report = json.loads(last)
        score = report["test_score"]
        report |= {"test_score_text": score, "test_score_linear": score - 0.1}
        path.write_text("\n".join([*lines, json.dumps(report)]) + "\n")
    for row in read_study_result(few_shot_study).rows:
        assert row.means["score_text"] == row.test
        linear = row.means["score_linear"]
        assert linear.mean == pytest.approx(row.test.mean - 0.1)
        # The fake trials predict the same with both heads.
        images, known = not_none(linear.images), not_none(row.test.images)
        assert images.high - images.low == pytest.approx(known.high - known.low)


def test_images_are_counted_by_class_of_the_first_seed_that_has_predictions(trained_study: Path):
    classes = read_study_result(trained_study).classes
    trained = {row.name: row.trained for row in classes.rows}
    assert trained == dict.fromkeys(CLASSES, 0) | {"glyph l": 2, "glyph k": 1}
    assert {row.tested for row in classes.rows} == {40}
    (trained_study / "trials/test-best-seed1/predictions.parquet").unlink()
    assert {row.tested for row in read_study_result(trained_study).classes.rows} == {40}


def test_recalls_and_confusions_follow_from_predictions(predicted: Path):
    result = read_study_result(predicted)
    worst, other = result.classes.rows
    assert (worst.name, worst.before, worst.after) == ("a", 0.5, 8 / 12)
    assert (other.name, other.before, other.after) == ("b", 0.5, 11 / 12)
    confused = [(p.true, p.predicted, p.before, p.after, p.count) for p in result.classes.confused]
    assert confused == [("a", "b", 0.5, 4 / 12, 4), ("b", "a", 0.5, 1 / 12, 1)]
    assert result.chance == 0.5
    (predicted / "trials/test-zero-shot-seed1/predictions.parquet").unlink()
    classes = read_study_result(predicted).classes
    assert {row.before for row in classes.rows} == {pair.before for pair in classes.confused}
    assert classes.rows[0].before is None


def test_a_final_training_has_an_interval_over_images_alone(make_study: Callable[..., Path]):
    folder = make_study("mine")
    assert not_none(read_study_result(folder).final).trial is None, "final.images is shots"
    ExampleStudy(folder).add_final("labelled")
    board = read_study_result(folder)
    final = not_none(board.final)
    assert final.row is board.best
    assert final.images == 60
    test = not_none(final.test)
    assert test.images is not None
    assert (test.n, test.low) == (1, test.images.low)
    trial = not_none(final.trial)
    assert all(trial.trial_id not in entry.labels for entry in board.rows)
    ExampleStudy(folder).fail(trial.trial_id)
    assert not_none(read_study_result(folder).final).trial is None
