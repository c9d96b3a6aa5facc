"""What ships is told where it is not the winner as it was tested."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.report.sentences import sentences
from tests.case_tables import from_table
from tests.changed_studies import board_of
from tests.report.said_cases import add_refit


@pytest.fixture
def study(make_study: Callable[..., Path]) -> Path:
    return make_study("mine")


def test_nothing_is_told_where_the_winner_ships_as_it_was_tested(study: Path):
    assert not sentences("report/shipped", board=board_of(study))


@from_table
def test_a_refit_is_told_with_its_images(study: Path, images: str, told: str):
    add_refit(study, images)
    (sentence,) = sentences("report/shipped", board=board_of(study))
    assert f"trained once more on 60 labelled images {told}: " in sentence


def test_a_refit_on_test_images_is_not_tested(study: Path):
    add_refit(study, "everything")
    (trial,) = (study / "trials").glob("refit-*")
    (trial / "reports.jsonl").write_text('{"epoch": 0, "seconds": 1.0}\n')
    assert "It is not tested." in " ".join(sentences("report/shipped", board=board_of(study)))
