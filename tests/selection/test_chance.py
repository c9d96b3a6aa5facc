"""What guessing scores in balanced accuracy, and what is known to score more."""

from collections import Counter
from pathlib import Path

import pytest

from study.protocols import BaseToNew, FewShot, Generalized, Protocol, Transfer
from study.selection.chance import (
    AgainstChance,
    balanced_chance,
    balanced_score,
    read_against_chance,
    write_against_chance,
)
from study.storage.ledger import StudyFolder
from study.trial.predictions import Confusion


def counts(**parts: tuple[tuple[int, int], ...]) -> Confusion:
    """Counts of classes, each with its number of images and of those that are right."""
    return Counter(
        {
            (part, str(label), predicted): number
            for part, classes in parts.items()
            for label, (images, right) in enumerate(classes)
            for predicted, number in ((str(label), right), ("another", images - right))
            if number
        }
    )


@pytest.mark.parametrize(
    ("protocol", "confusion", "score", "chance"),
    [
        (FewShot(), counts(accuracy=((90, 79), (10, 9))), (79 / 90 + 0.9) / 2, 1 / 2),
        (FewShot(), counts(accuracy=((90, 90), (10, 0))), 1 / 2, 1 / 2),
        (FewShot(), counts(accuracy=((5, 5), (5, 4), (5, 3), (5, 0))), 0.6, 1 / 4),
        # Each part is balanced, and then their harmonic mean is taken.
        (
            BaseToNew(),
            counts(base=((90, 90), (10, 2)), new=((30, 15), (3, 0), (3, 3))),
            2 * 0.6 * 0.5 / (0.6 + 0.5),
            2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3),
        ),
        (BaseToNew(), counts(base=((4, 4), (4, 4)), new=((4, 0), (4, 0))), 0.0, 1 / 2),
        # All names compete, and both parts are averaged over classes as they are.
        (
            Generalized(),
            counts(base=((90, 90), (10, 2)), new=((30, 15), (3, 0), (3, 3))),
            2 * 0.6 * 0.5 / (0.6 + 0.5),
            1 / 5,
        ),
        # The mean over the targets, without the source.
        (
            Transfer(),
            counts(
                accuracy=((1, 1), (1, 1)),
                other=((90, 90), (10, 0)),
                third=((4, 4), (4, 4), (2, 0), (2, 0)),
            ),
            1 / 2,
            (1 / 2 + 1 / 4) / 2,
        ),
    ],
)
def test_every_class_of_a_part_counts_alike_and_the_protocol_makes_a_score_of_the_parts(
    protocol: Protocol, confusion: Confusion, score: float, chance: float
) -> None:
    assert balanced_score(confusion, protocol) == pytest.approx(score)
    assert balanced_chance(confusion, protocol) == pytest.approx(chance)


def test_without_counts_nothing_is_known() -> None:
    assert balanced_score(Counter(), FewShot()) is None
    assert balanced_chance(Counter(), FewShot()) is None


@pytest.mark.parametrize(
    ("balanced", "low", "above", "shown"),
    [
        (0.5, 0.4, False, False),
        (0.6, 0.4, True, False),
        (0.6, 0.5, True, False),
        (0.6, 0.51, True, True),
        (0.6, None, True, False),
        (1 / 2 + 1e-12, None, False, False),  # rounding
    ],
)
def test_chance_is_beaten_by_the_mean_and_shown_to_be_by_the_whole_interval(
    balanced: float, low: float | None, above: bool, shown: bool
) -> None:
    known = AgainstChance(balanced=balanced, chance=0.5, images=1234, low=low)
    assert (known.above, known.shown) == (above, shown)
    assert "1,234" in known.doubt


def test_what_is_written_is_read_by_the_label_that_was_trained(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    folder.create("", {})
    assert read_against_chance(folder, "best") is None
    known = AgainstChance(balanced=0.6, chance=0.5, images=8, low=None)
    write_against_chance(folder, {"clipfit": known})
    assert read_against_chance(folder, "clipfit") == known
    assert read_against_chance(folder, "best") is None
    folder.take_back_conclusions()
    assert read_against_chance(folder, "clipfit") is None
