"""Readers see names, and what a candidate is follows from its label and its settings."""

from pathlib import Path

from study.report.names import candidate_name, joint_name, rival_name
from study.storage.ledger_files import JsonObject
from tests.changed_studies import board_of
from tests.fake_studies import edit_candidates


def test_a_label_of_the_product_has_a_name_and_one_of_the_user_is_its_own():
    for label in ("linear", "clipfit-tuned", "second", "best-of-40"):
        assert candidate_name(label) != label
    for label in ("found-late-1", "mine-of-40"):
        assert candidate_name(label) == label


def test_a_rival_whose_tuned_rates_were_no_better_is_not_called_tuned(few_shot_study: Path):
    assert rival_name(board_of(few_shot_study), "clipfit-tuned") == "tuned CLIPFit"

    def keep_published_rates(candidates: list[JsonObject]):
        by_label = {candidate["label"]: candidate for candidate in candidates}
        by_label["clipfit-tuned"]["training"] = "clipfit"

    edit_candidates(few_shot_study, keep_published_rates)
    assert rival_name(board_of(few_shot_study), "clipfit-tuned").startswith("CLIPFit as published")


def test_of_candidates_that_share_a_training_the_ones_that_say_more_are_named():
    assert joint_name(("clipfit", "clipfit-tuned")).startswith(candidate_name("clipfit"))
    tuned = candidate_name("clipfit-tuned")
    assert joint_name(("clipfit-tuned", "second")) == f"{tuned}, also second by validation"
    assert joint_name(("clipfit-tuned", "best", "best-with-delta")) == tuned
    assert joint_name(("best", "best-with-delta")) == candidate_name("best")
