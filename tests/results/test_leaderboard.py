"""Candidates are compared by seed, and two comparisons alone are tested."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from study.results.statistics import MeanInterval
from study.results.study_result import StudyResult
from study.storage.result_folder import JsonObject
from tests.changed_studies import board_of, forget_images
from tests.fake_folder import SEEDS
from tests.fake_studies import add_candidate, edit_candidates
from tests.not_none import not_none

FULL = {"method": "full", "lr": 1e-4}


def against(board: StudyResult, one: str, other: str) -> MeanInterval:
    """The difference between two candidates."""
    pair = not_none(board.find_row(one)), not_none(board.find_row(other))
    return not_none(board.difference(*pair))


def test_the_winner_is_the_choice_of_validation_not_the_best_on_test(
    make_study: Callable[..., Path],
):
    board = board_of(make_study(edge=-0.015))
    assert not_none(board.best).label == "best"
    assert board.rows[0].label != "best"


def test_a_comparison_without_images_is_the_paired_t_test_over_seeds(few_shot_study: Path):
    board = board_of(forget_images(few_shot_study))
    found = against(board, "best", "clipfit-tuned")
    scores = (not_none(board.find_row(label)).scores for label in ("best", "clipfit-tuned"))
    best, tuned = ([own[seed] for seed in SEEDS] for own in scores)
    assert found.mean == pytest.approx(np.mean(best) - np.mean(tuned))
    assert found.p_value == pytest.approx(stats.ttest_rel(best, tuned).pvalue)


def test_the_best_other_method_is_the_best_by_validation_that_tunes_no_subset(
    few_shot_study: Path,
):
    add_candidate(few_shot_study, "linear", 0.03, val_score=0.6, head="linear")
    add_candidate(few_shot_study, "full", -0.03, val_score=0.61, method=FULL)
    assert board_of(few_shot_study).best_other_method == "full"
    for index, expected in ((-1, "linear"), (-2, "zero-shot")):

        def forget_score(candidates: list[JsonObject], at: int = index):
            candidates[at].update(val_score=None)

        edit_candidates(few_shot_study, forget_score)
        assert board_of(few_shot_study).best_other_method == expected


@pytest.mark.parametrize("effect", [0.005, -0.3])
def test_the_closer_of_the_planned_rivals_comes_first(few_shot_study: Path, effect: float):
    add_candidate(few_shot_study, "linear", effect, val_score=0.6, head="linear")
    compared = board_of(few_shot_study).comparisons
    assert compared.keys() == {"clipfit-tuned", "linear"}
    means = [difference.mean for difference in compared.values()]
    assert means == sorted(means)


def test_comparisons_that_an_earlier_choice_planned_are_tests_as_well(few_shot_study: Path):
    add_candidate(few_shot_study, "linear", 0.005, val_score=0.6, head="linear")
    alone = board_of(few_shot_study).comparisons
    candidates = json.loads((few_shot_study / "candidates.json").read_text())
    earlier = [one | {"choice": 24} for one in candidates if one["label"] != "best"]
    for one in earlier:
        if one["label"] == "third":  # was the best when there were fewer trials
            one["label"] = "best"
    entry = {"from": 24, "to": 30, "candidates": earlier, "final": None}
    (few_shot_study / "extensions.json").write_text(json.dumps([entry]))
    compared = board_of(few_shot_study).comparisons
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
    board = board_of(few_shot_study)
    best, third = board.find_row("best"), board.find_row("third")
    assert not_none(best).test.mean == not_none(third).test.mean == pytest.approx(833 / 901)
    assert board.rows.index(best) < board.rows.index(third)


def share(folder: Path, label: str, other: str):
    """Let a candidate share the training of another one."""

    def same(candidates: list[JsonObject]):
        by_label = {candidate["label"]: candidate for candidate in candidates}
        by_label[label] |= {key: by_label[other][key] for key in ("settings", "training")}

    edit_candidates(folder, same)


def test_tuned_rates_that_are_the_published_ones_are_compared_once_for_both(
    few_shot_study: Path,
):
    share(few_shot_study, "clipfit-tuned", "clipfit")
    board = board_of(few_shot_study)
    clipfit = not_none(board.find_row("clipfit-tuned"))
    assert clipfit.labels == ["clipfit", "clipfit-tuned"]
    assert board.difference(clipfit, board.find_row("clipfit")) is None
    assert against(board, "best", "clipfit-tuned") == against(board, "best", "clipfit")


def test_a_seed_that_failed_is_missing_from_means_and_pairs(few_shot_study: Path):
    (few_shot_study / "trials/test-best-seed3/reports.jsonl").write_text('{"epoch": 1}\n')
    board = board_of(few_shot_study)
    entry = not_none(board.find_row("best"))
    assert (sorted(entry.scores), entry.test_trial_count) == ([1, 2, 4, 5], 5)
    assert against(board, "best", "clipfit-tuned").n == 4


def test_chance_is_one_over_the_number_of_classes_whatever_their_sizes(
    make_study: Callable[..., Path],
):
    uneven = make_study("uneven", base_to_new=True, images=(300, 100, 100))
    assert board_of(uneven).chance == pytest.approx(1 / 3)
