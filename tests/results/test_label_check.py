"""The labels that the best configuration's own folds take for wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.results.label_check import find_mislabelled
from study.results.study_result import read_study_result
from study.trial.study import Prediction
from tests.example_studies import ExampleStudy
from tests.not_none import not_none


def validate(folder: Path, trial_id: str, rows: Sequence[Sequence[Any]]):
    """Let a trial have validated images: the fold and so on of each, and its probabilities."""
    seen = [Prediction("text", *values)._replace(fold=fold) for fold, *values in rows]
    ExampleStudy(folder).predict(trial_id, seen)


def best_of(folder: Path) -> str:
    """The trial of the search that was chosen."""
    return not_none(ExampleStudy(folder).candidates["best"].source_trial)


def test_the_models_of_the_best_configuration_alone_decide(few_shot_study: Path):
    ExampleStudy(few_shot_study).add_likely_mislabelled("x.png", ("cat", "dog"))
    for path in few_shot_study.glob("trials/search-*"):
        if path.name != best_of(few_shot_study):
            other = [(0, "accuracy", "other.png", "cat", "dog", 1.0, 0.0)]
            validate(few_shot_study, path.name, other)
    check = not_none(read_study_result(few_shot_study).label_check)
    assert (check.images, check.accuracy) == (9, pytest.approx(8 / 9))
    ((*texts, confidence),) = check.likely_mislabelled
    assert (texts, confidence) == (["x.png", "cat", "dog"], pytest.approx(0.01))
    (few_shot_study / "candidates.json").unlink()
    assert read_study_result(few_shot_study).label_check is None


def test_the_models_of_several_folds_are_averaged_if_they_know_the_class(base_to_new_study: Path):
    rows = [(0, "base", "1.png", "a", "b", 0.8, 0.1), (1, "base", "1.png", "a", "b", 0.6, 0.3)]
    rows += [(0, "base", f"{n}.png", "ab"[n % 2], "ab"[n % 2], 0.7, 0.7) for n in range(2, 8)]
    # The class of these was not trained.
    rows += [(2, "new", path, "a", "b", 1.0, 0.0) for path in ("2.png", "9.png")]
    validate(base_to_new_study, best_of(base_to_new_study), rows)
    check = not_none(read_study_result(base_to_new_study).label_check)
    (label,) = check.likely_mislabelled
    assert (label.path, label.confidence, check.images) == ("1.png", pytest.approx(0.2), 7)


@pytest.mark.parametrize("wrong, found", [(2, 2), (3, 0)])
def test_models_that_are_wrong_on_most_images_question_no_label(
    few_shot_study: Path, wrong: int, found: int
):
    rows = [(0, "accuracy", f"{n}.png", "a", "b", 0.9, 0.05) for n in range(wrong)]
    rows += [(0, "accuracy", f"{n}.png", "ab"[n % 2], "ab"[n % 2], 0.7, 0.7) for n in range(5, 7)]
    validate(few_shot_study, best_of(few_shot_study), rows)
    check = not_none(read_study_result(few_shot_study).label_check)
    assert (len(check.likely_mislabelled), check.reliable) == (found, found > 0)


def test_as_many_labels_are_found_as_count_off_the_diagonal():
    """Thresholds are 0.6 = (0.9 + 0.8 + 0.1) / 3, and 0.5 = (0.6 + 0.9 + 0) / 3.

    The third image counts for the second class, and the last, which is below both, for none. So one
    label is found: that of the lowest probability.
    """
    first = [0.9, 0.8, 0.1, 0.4, 0.1, 0.55]
    second = [0.1, 0.2, 0.9, 0.6, 0.9, 0.0]
    probabilities = np.array([first, second, np.zeros(6)]).T
    assert find_mislabelled(probabilities, np.arange(6) // 3).tolist() == [5]
