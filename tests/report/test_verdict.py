"""What is said of candidates claims no more than intervals allow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.report.verdict import headline, verdict
from tests.changed_studies import board_of
from tests.not_none import not_none
from tests.report.conftest import AsKept
from tests.report.said_cases import SAID, prepare, sentences_on


@pytest.mark.parametrize("name", SAID)
def test_all_that_is_told_of_a_study_is_what_was_kept(
    make_study: Callable[..., Path], as_kept: AsKept, name: str
):
    folder = prepare(make_study("glyphs", **SAID[name].get("study", {})), SAID[name])
    as_kept(name.replace(" ", "-"), "\n".join(sentences_on(folder)) + "\n")


def test_what_its_test_score_chose_for_a_comparison_gets_no_verdict(
    make_study: Callable[..., Path],
):
    board = board_of(make_study(edge=-0.06))
    (said,) = [sentence for sentence in verdict(board) if "BitFit" in sentence]
    compared = {entry.label: difference for entry, difference in board.rivals_above_winner}
    assert not_none(not_none(compared["bitfit"]).high) < 0
    assert "95 % interval" in said
    assert "not tested" in said
    assert "noise" not in said


def test_over_several_datasets_a_score_is_called_a_mean(few_shot_study: Path):
    board = board_of(few_shot_study)
    entries = tuple(replace(e, dataset_scores={"a": e.test, "b": e.test}) for e in board.entries)
    _, rest = headline(replace(board, entries=entries)) or ("", "")
    assert rest.startswith("mean accuracy over the target datasets on test for the winner")


def test_other_studies_of_the_same_test_images_are_counted(
    make_study: Callable[..., Path],
):
    folder = make_study("one")
    for number, told in enumerate(("", "1 other study in this", "2 other studies in this")):
        text = " ".join(verdict(board_of(folder)))
        assert told in text
        assert ("the same test images" in text) == bool(told)
        make_study(f"another-{number}")
