"""Readers see names, and what a candidate is follows from its label and its settings."""

from pathlib import Path

import pytest

from study.report.names import candidate_name, entry_name, joint_name, rival_name
from study.storage.ledger_files import JsonObject
from tests.case_tables import from_table
from tests.changed_studies import board_of
from tests.fake_studies import add_candidate, edit_candidates
from tests.not_none import not_none


@from_table
def test_a_label_has_a_name_that_a_reader_understands(label: str, name: str):
    assert candidate_name(label) == name


def test_names_speak_of_a_choice_where_there_is_no_winner(guessing_study: Path):
    add_candidate(guessing_study, "best-plain", -0.01)
    board = board_of(guessing_study)
    plain = not_none(board.find_entry("best-plain"))
    assert entry_name(board, plain) == "choice without its head, at full strength"


def test_a_rival_whose_tuned_rates_were_no_better_is_not_called_tuned(few_shot_study: Path):
    assert rival_name(board_of(few_shot_study), "clipfit-tuned") == "tuned CLIPFit"

    def keep_published_rates(candidates: list[JsonObject]):
        by_label = {candidate["label"]: candidate for candidate in candidates}
        by_label["clipfit-tuned"]["same_as"] = "clipfit"

    edit_candidates(few_shot_study, keep_published_rates)
    assert rival_name(board_of(few_shot_study), "clipfit-tuned").startswith("CLIPFit as published")


def test_of_candidates_that_share_a_training_the_ones_that_say_more_are_named():
    assert joint_name(("clipfit", "clipfit-tuned")) == (
        "CLIPFit as published (no tuned rates validated better)"
    )
    assert joint_name(("clipfit-tuned", "second")) == "tuned CLIPFit, also second by validation"
    assert joint_name(("clipfit-tuned", "best", "best-plain")) == "tuned CLIPFit"
    assert joint_name(("best", "best-text")) == "best by validation"


@pytest.mark.parametrize("ending", ["", "-of-40"])
@from_table
def test_what_differs_from_the_winner_by_one_change_is_named_by_that_change(
    shared: str, name: str, ending: str
):
    of = ", of 40 trials" if ending else ""
    assert joint_name((f"best-plain{ending}", f"{shared}{ending}")) == f"{name}{of}"
