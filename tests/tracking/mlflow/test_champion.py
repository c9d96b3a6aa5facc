"""Which of two versions is champion, and what is said of it."""

from pathlib import Path

import pytest
import yaml

from study.tracking.mlflow.champion import judge

CASES = yaml.safe_load(Path(__file__).with_name("champion.yaml").read_text())


def tags(**changes: str) -> dict[str, str]:
    return {
        **{"protocol": "base_to_new", "selection": "class_folds", "split_hash": "a1"},
        **{"val_score": "0.8", "study": "s"},
        **changes,
    }


@pytest.mark.parametrize(("challenger", "champion", "wins", "why"), CASES)
def test_the_alias_moves_for_a_better_validation_score_on_the_same_split_alone(
    challenger: dict[str, str], champion: dict[str, str] | None, wins: bool, why: str
) -> None:
    holder = None if champion is None else tags(**champion)
    moved, reason = judge(tags(**challenger), holder)
    assert moved is wins
    assert why in reason


def sure(error: float | str, **changes: str) -> dict[str, str]:
    return tags(val_error=str(error), **changes)


@pytest.mark.parametrize(
    ("own", "error", "noise"),
    [
        ("0.82", 0.01, True),
        ("0.84", 0.01, False),
        ("0.84", 0.03, True),
        ("0.78", 0.01, True),
        ("0.76", 0.01, False),
        ("0.8", 0.01, True),
    ],
)
def test_a_difference_that_other_validation_images_might_turn_is_called_noise(
    own: str, error: float, noise: bool
) -> None:
    """The bound is 1.96 times the root of both squared errors: here 0.028 and 0.083."""
    wins, reason = judge(sure(error, val_score=own), sure(error))
    assert wins == (float(own) > 0.8)
    assert ("within noise" in reason) == noise


@pytest.mark.parametrize(
    ("challenger", "champion"), [(sure(0.5), tags()), (tags(), sure(0.5)), (tags(), tags())]
)
def test_of_versions_that_say_not_how_sure_they_are_no_noise_is_claimed(
    challenger: dict[str, str], champion: dict[str, str]
) -> None:
    assert "noise" not in judge(challenger | {"val_score": "0.81"}, champion)[1]


SHOWN, DOUBTFUL = {"beats_chance": "shown"}, {"beats_chance": "not shown"}


@pytest.mark.parametrize(
    ("challenger", "champion", "wins"),
    [
        (DOUBTFUL, SHOWN, False),
        (DOUBTFUL, {}, False),  # of which it is not known
        (DOUBTFUL, DOUBTFUL, True),
        (SHOWN, DOUBTFUL, True),
        (SHOWN, SHOWN, True),
        ({}, SHOWN, True),
    ],
)
def test_what_is_not_shown_to_beat_chance_takes_the_alias_from_none_that_is(
    challenger: dict[str, str], champion: dict[str, str], wins: bool
) -> None:
    won, reason = judge(tags(val_score="0.9", **challenger), tags(**champion))
    assert won == wins
    assert ("not shown to beat chance" in reason) != wins


def test_what_is_not_shown_to_beat_chance_may_be_the_first() -> None:
    assert judge(tags(**DOUBTFUL), None)[0]
