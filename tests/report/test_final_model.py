"""The final model is described where it is not that of the best configuration as it was tested."""

from pathlib import Path

import pytest

from study.report.ending import findings
from study.report.final_model import final_model_line, final_model_sentences
from tests.changed_studies import add_final, board_of
from tests.report.conftest import choose_full


def test_nothing_is_printed_of_the_best_configuration_as_it_was_tested(few_shot_study: Path):
    board = board_of(few_shot_study)
    assert (final_model_sentences(board), final_model_line(board)) == ([], "")
    assert "final" not in dict(findings(board))


@pytest.mark.parametrize("images", ["labelled", "everything"])
def test_a_final_training_has_its_images_and_its_score(few_shot_study: Path, images: str):
    add_final(few_shot_study, images)
    (trial,) = (few_shot_study / "trials").glob("final-*")
    for score in ("% on test (95 % interval over test images alone", "not tested"):
        line = dict(findings(board_of(few_shot_study)))["final"]
        (sentence,) = final_model_sentences(board_of(few_shot_study))
        assert "trained on 60 images" in line
        assert "on 60 labelled images" in sentence
        assert score in line
        assert score in sentence
        (trial / "reports.jsonl").write_text('{"epoch": 0, "seconds": 1.0}\n')


def test_both_are_named_where_the_best_cannot_be_written(few_shot_study: Path):
    board = board_of(choose_full(few_shot_study))
    (sentence,) = final_model_sentences(board)
    for text in (sentence, f"{dict(findings(board))}"):
        assert "full fine-tuning" in text
        assert "vision.ln" in text
