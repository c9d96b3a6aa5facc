"""Readers see names, and what a candidate is follows from its label and its settings."""

import pytest

from study.analysis.names import STEPS, joint_name, name_of


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("linear", "linear on frozen CLIP"),
        ("clipfit-tuned", "tuned CLIPFit"),
        ("second", "second by validation"),
        ("best-plain", "winner, α 1, head text"),
        ("best-of-40", "best by validation, of 40 trials"),
        ("best-plain-of-40", "winner, α 1, head text, of 40 trials"),
        ("found-late-1", "found-late-1"),
        ("mine-of-40", "mine-of-40"),
        ("{chosen}", "winner"),
    ],
)
def test_a_label_has_a_name_that_a_reader_understands(label: str, name: str) -> None:
    assert name_of(label) == name


def test_without_a_winner_names_speak_of_the_choice() -> None:
    assert name_of("best-full-strength", "choice") == "choice, α 1"


def test_of_candidates_that_share_a_training_the_ones_that_say_more_are_named() -> None:
    assert joint_name(("clipfit", "clipfit-tuned")) == "CLIPFit as published = tuned CLIPFit"
    assert joint_name(("clipfit-tuned", "best", "smallest", "best-plain")) == "tuned CLIPFit"
    assert joint_name(("best", "best-text")) == "best by validation"


def test_the_ladder_leads_from_the_published_rates_to_the_winner() -> None:
    assert [below for below, _ in STEPS] == ["clipfit", "clipfit-tuned", "best-plain", "best-text"]
    assert STEPS[-1][1] == "best"
