"""What the registry has to know of a choice beside chance is written before it is asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.results.against_chance import against_chance, fix_chance
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.selection.chance import read_against_chance
from study.storage.study_folder import CHANCE, StudyFolder
from tests.changed_studies import forget_images
from tests.fake_studies import add_candidate, edit_candidates
from tests.not_none import not_none

MakeStudy = Callable[..., Path]


@pytest.mark.parametrize(("images", "shown"), [((300, 300), True), ((4, 4), False)])
def test_what_is_written_is_what_the_leaderboard_says(
    make_study: MakeStudy, images: tuple[int, ...], shown: bool
) -> None:
    path = make_study("mine", images=images)
    fix_chance(StudyFolder(path))
    known = not_none(read_against_chance(StudyFolder(path), "best"))
    winner = not_none(leaderboard(read_results(path)).winner)
    assert known == winner.against_chance
    assert known.is_proven == shown


def test_what_is_registered_in_place_of_the_winner_is_written_too(make_study: MakeStudy) -> None:
    path = make_study("kept")
    add_candidate(path, "best-with-delta", -0.01, val_score=0.6, subset="vision.ln", ln_lr=0.02)
    assert against_chance(read_results(path)).keys() == {
        "best",
        "best-with-delta",
    }


def test_a_winner_that_equals_a_baseline_is_written_by_the_label_that_was_trained(
    make_study: MakeStudy,
) -> None:
    path = make_study("same")
    edit_candidates(
        path,
        lambda candidates: next(c for c in candidates if c["label"] == "best").update(
            same_as="clipfit-tuned"
        ),
    )
    assert against_chance(read_results(path)).keys() == {"clipfit-tuned"}


def test_of_a_study_without_predictions_nothing_is_written(few_shot_study: Path) -> None:
    fix_chance(StudyFolder(forget_images(few_shot_study)))
    assert not (few_shot_study / CHANCE).exists()
