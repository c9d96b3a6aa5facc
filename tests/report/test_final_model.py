"""The final model is described where it is not that of the best configuration as it was tested."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.report.ending import findings
from study.report.final_model import final_model_line, final_model_sentences
from tests.changed_studies import board_of, choose
from tests.fake_studies import add_candidate, edit_candidates
from tests.report.said_cases import add_final


@pytest.fixture
def study(make_study: Callable[..., Path]) -> Path:
    return make_study("mine")


def test_nothing_is_printed_of_the_best_configuration_as_it_was_tested(study: Path):
    board = board_of(study)
    assert (final_model_sentences(board), final_model_line(board)) == ([], "")
    assert "final" not in dict(findings(board))


@pytest.mark.parametrize("images", ["labelled", "everything"])
def test_a_final_training_is_printed_with_its_images_and_its_score(study: Path, images: str):
    add_final(study, images)
    (trial,) = (study / "trials").glob("final-*")
    for score in ("% on test (95 % interval over test images alone", "not tested"):
        line = dict(findings(board_of(study)))["final"]
        (sentence,) = final_model_sentences(board_of(study))
        assert "trained on 60 images" in line
        assert "on 60 labelled images" in sentence
        assert score in line
        assert score in sentence
        (trial / "reports.jsonl").write_text('{"epoch": 0, "seconds": 1.0}\n')


def test_both_are_named_where_the_best_cannot_be_written(study: Path):
    full = {"method": "full", "lr": 1e-4}
    add_candidate(study, "full", 0.02, val_score=0.9, peer=full)
    add_candidate(study, "best-with-delta", -0.01, val_score=0.7, subset="vision.ln")
    edit_candidates(study, lambda candidates: choose(candidates, "full"))
    board = board_of(study)
    (sentence,) = final_model_sentences(board)
    for text in (sentence, f"{dict(findings(board))}"):
        assert "full fine-tuning" in text
        assert "vision.ln" in text
