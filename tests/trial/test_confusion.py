"""Predictions are counted, and compared with what guessing would score."""

import pytest

from study.protocols import find_protocol
from study.trial.predictions import beats_chance, confusion_of
from study.trial.study import Prediction
from tests.case_tables import from_table


def test_predictions_are_counted_by_part_class_and_what_the_class_is_taken_for():
    answers = [("base", "cat", "cat"), ("base", "cat", "dog"), ("new", "cat", "dog")]
    predictions = [
        Prediction("text", part, f"{number}.png", label, predicted, 0.9)
        for number, (part, label, predicted) in enumerate([*answers, answers[0]])
    ]
    assert confusion_of(predictions) == dict(zip(answers, (2, 1, 1), strict=True))


@from_table
def test_parts_make_up_chance_as_they_make_up_a_score(
    parts: dict[str, list[int]], protocol: str, chance: float
):

    own = find_protocol(protocol)
    assert own.score(own.chance(parts))["score"] == pytest.approx(chance)


def test_what_always_names_the_largest_class_is_at_chance_whatever_the_rounding():
    chance = round(2 / 3, 12)
    for score in (2 / 3, chance, sum([chance] * 3) / 3):
        assert not beats_chance(score, chance)
    assert beats_chance(201 / 300, chance)
    assert beats_chance(0.0, None), "of a trial that kept no counts"
