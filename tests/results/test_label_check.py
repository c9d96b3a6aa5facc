"""The labels that the trials of a search doubt together."""

from pathlib import Path

import pytest

from study.results.label_check import OUT_OF_FOLD, LabelCheck, check_labels
from study.results.study_results import read_results
from study.storage.ledger_files import LedgerError
from study.storage.trial_folder import VALIDATION
from tests.changed_studies import doubt_labels_of, keep_validation
from tests.not_none import not_none


def checked(folder: Path) -> LabelCheck | None:
    results = read_results(folder)
    return check_labels(results.folder, results.trials)


def finished_of(folder: Path) -> list[Path]:
    """Return the folders of the finished trials of the search, the best first."""
    trials = [one for one in read_results(folder).stage("search") if one.status == "finished"]
    trials.sort(key=lambda trial: not_none(trial.val_score), reverse=True)
    return [folder / "trials" / trial.trial_id for trial in trials]


def test_the_better_half_of_the_finished_trials_votes(few_shot_study: Path) -> None:
    assert checked(few_shot_study) is None, "no trial kept probabilities"
    doubt_labels_of(few_shot_study, "x.png", ("cat", "dog"))
    half = (len(finished_of(few_shot_study)) + 1) // 2
    for trial in finished_of(few_shot_study)[half:]:
        keep_validation(trial, [(0, "accuracy", "other.png", "cat", "dog", 1.0, 0.0)])
    rows = [(0, "accuracy", "x.png", "cat", "owl", 0.5, 0.25)]
    keep_validation(finished_of(few_shot_study)[0], rows)
    check = not_none(checked(few_shot_study))
    assert check.trials == half
    assert check.paths == {"x.png", *(f"{number}.png" for number in range(1, 9))}
    (label,) = check.doubted
    expected = ("x.png", "cat", "dog", half - 1, half, label.confidence, OUT_OF_FOLD)
    assert label == expected
    assert label.confidence == pytest.approx((0.25 + (half - 1) * 0.01) / half)
    assert label.agreement == f"{half - 1} of {half}"


def test_models_that_do_not_know_the_class_of_an_image_have_no_vote(
    base_to_new_study: Path,
) -> None:
    rows = [(fold, "base", "1.png", "a", "a", 0.9, 0.9) for fold in (0, 1)]
    rows += [(fold, "base", "2.png", "b", "b", 0.9, 0.9) for fold in (1, 2)]
    rows += [(2, "new", path, "a", "b", 1.0, 0.0) for path in ("1.png", "3.png")]
    for trial in finished_of(base_to_new_study):
        keep_validation(trial, rows)
    check = not_none(checked(base_to_new_study))
    assert (check.doubted, check.paths) == ((), {"1.png", "2.png"})


def test_a_damaged_file_is_named(few_shot_study: Path) -> None:
    trial = finished_of(few_shot_study)[0]
    (trial / VALIDATION).write_bytes(b"PAR1 no more")
    with pytest.raises(LedgerError, match=rf"{trial.name}/validation\.parquet is damaged"):
        checked(few_shot_study)
