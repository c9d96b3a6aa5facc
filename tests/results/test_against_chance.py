"""What the registry has to know of a choice beside chance is written before it is asked."""

from pathlib import Path

from study.results.against_chance import fix_chance
from study.results.best_configuration import read_best
from study.storage.study_folder import CHANCE, StudyFolder
from tests.changed_studies import board_of, choose, forget_images
from tests.fake_studies import add_candidate, edit_candidates
from tests.not_none import not_none


def test_what_is_written_is_what_the_leaderboard_says(few_shot_study: Path):
    fix_chance(StudyFolder(few_shot_study))
    board = board_of(few_shot_study)
    known = not_none(read_best(board.study)).against_chance
    assert known == not_none(board.best).against_chance


def labels_of(folder: Path) -> set[str]:
    """The labels of what is written."""
    return {*(StudyFolder(folder).read_json(CHANCE) or {})}


def test_what_is_registered_in_place_of_the_winner_is_written_too(few_shot_study: Path):
    add_candidate(few_shot_study, "best-with-delta", -0.01, val_score=0.6, subset="vision.ln")
    fix_chance(StudyFolder(few_shot_study))
    assert labels_of(few_shot_study) == {"best", "best-with-delta"}


def test_a_best_that_equals_a_baseline_is_written_by_the_labels_of_both(
    few_shot_study: Path,
):
    edit_candidates(few_shot_study, lambda candidates: choose(candidates, "clipfit-tuned"))
    fix_chance(StudyFolder(few_shot_study))
    assert labels_of(few_shot_study) == {"clipfit-tuned", "best"}


def test_of_a_study_without_predictions_nothing_is_written(few_shot_study: Path):
    fix_chance(StudyFolder(forget_images(few_shot_study)))
    assert not (few_shot_study / CHANCE).exists()
