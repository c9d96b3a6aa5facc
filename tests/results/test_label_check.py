"""The labels that the trials of a search doubt together."""

from pathlib import Path

import pytest

from study.results.label_check import OUT_OF_FOLD
from study.results.study_results import read_results
from tests.changed_studies import doubt_labels_of, keep_validation
from tests.not_none import not_none


def finished_of(folder: Path) -> list[Path]:
    """Return the folders of the finished trials of the search, the best first."""
    trials = [one for one in read_results(folder).stage("search") if one.status == "finished"]
    trials.sort(key=lambda trial: not_none(trial.val_score), reverse=True)
    return [folder / "trials" / trial.trial_id for trial in trials]


def test_the_better_half_of_the_finished_trials_votes(few_shot_study: Path):
    doubt_labels_of(few_shot_study, "x.png", ("cat", "dog"))
    best, *others = finished_of(few_shot_study)
    keep_validation(best, [(0, "accuracy", "x.png", "cat", "owl", 0.5, 0.25)])
    half = len(others) // 2 + 1
    for trial in others[half - 1 :]:
        keep_validation(trial, [(0, "accuracy", "other.png", "cat", "dog", 1.0, 0.0)])
    check = not_none(read_results(few_shot_study).label_check)
    assert (check.trials, len(check.paths), "other.png" in check.paths) == (half, 9, False)
    (label,) = check.doubted
    assert label[:5] == ("x.png", "cat", "dog", half - 1, half)
    assert label.confidence == pytest.approx((0.25 + (half - 1) * 0.01) / half)
    assert label.source == OUT_OF_FOLD


def test_models_that_do_not_know_the_class_of_an_image_have_no_vote(
    base_to_new_study: Path,
):
    rows = [(fold, "base", "1.png", "a", "a", 0.9, 0.9) for fold in (0, 1)]
    rows += [(2, "new", path, "a", "b", 1.0, 0.0) for path in ("1.png", "3.png")]
    for trial in finished_of(base_to_new_study):
        keep_validation(trial, rows)
    check = not_none(read_results(base_to_new_study).label_check)
    assert (check.doubted, check.paths) == ((), {"1.png"})
