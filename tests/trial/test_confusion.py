"""Chance is what naming the largest class would score, made of its parts as scores are."""

import pytest

from study.protocols import FewShot, find_protocol
from study.trial import Prediction
from study.trial.predictions import Confusion, beats_chance, chance_level, confusion_of
from tests.case_tables import from_table


def counts(**parts: list[int]) -> Confusion:
    """Counts of so many images a class in each part, each taken for the first class."""
    confusion = Confusion()
    for part, images in parts.items():
        for true, number in enumerate(images):
            confusion[part, f"class {true}", "class 0"] = number
    return confusion


def test_predictions_are_counted_by_part_class_and_what_the_class_is_taken_for():
    answers = [("base", "cat", "cat"), ("base", "cat", "dog"), ("new", "cat", "dog")]
    predictions = [
        Prediction(part, f"{number}.png", label, predicted, 0.9)
        for number, (part, label, predicted) in enumerate([*answers, answers[0]])
    ]
    assert confusion_of(predictions) == dict(zip(answers, (2, 1, 1), strict=True))


@from_table
def test_parts_make_up_chance_as_they_make_up_a_score(
    parts: dict[str, list[int]], protocol: str, chance: float
):
    assert chance_level(counts(**parts), find_protocol(protocol)) == pytest.approx(chance)


def test_of_a_trial_that_kept_no_counts_it_is_unknown():
    assert chance_level(counts(), FewShot()) is None
    assert beats_chance(0.0, None)


def test_what_always_names_the_largest_class_is_at_chance_whatever_the_rounding():
    chance = chance_level(counts(accuracy=[200, 50, 50]), FewShot())
    assert chance == pytest.approx(2 / 3)
    for score in (2 / 3, round(2 / 3, 12), sum([round(2 / 3, 12)] * 3) / 3):
        assert not beats_chance(score, chance)
    assert beats_chance(201 / 300, chance)
