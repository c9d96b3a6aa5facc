"""What guessing scores in balanced accuracy, and what is known to score more."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from study.protocols import find_protocol
from study.results.chance import (
    AgainstChance,
    balanced_chance,
    balanced_score,
)
from study.trial.predictions import Confusion

BALANCED = yaml.safe_load(Path(__file__).with_name("balanced.yaml").read_text())


def counts(parts: dict[str, list[list[int]]]) -> Confusion:
    """Counts of classes, each with its number of images and of those that are right."""
    found: Confusion = Counter()
    for part, classes in parts.items():
        for label, (images, right) in enumerate(classes):
            found[part, str(label), str(label)] = right
            found[part, str(label), "another"] = images - right
    return +found


@pytest.mark.parametrize("protocol, parts, score, chance", BALANCED)
def test_every_class_of_a_part_counts_alike_and_the_protocol_makes_a_score_of_the_parts(
    protocol: str,
    parts: dict[str, list[list[int]]],
    score: float | None,
    chance: float | None,
):
    confusion = counts(parts)
    assert balanced_score(confusion, find_protocol(protocol)) == pytest.approx(score)
    assert balanced_chance(confusion, find_protocol(protocol)) == pytest.approx(chance)


@pytest.mark.parametrize(
    "balanced, low, above, shown",
    [
        (0.5, 0.4, False, False),
        (0.6, 0.5, True, False),
        (0.6, 0.51, True, True),
        (0.6, None, True, False),
        (1 / 2 + 1e-12, None, False, False),  # rounding
    ],
)
def test_chance_is_beaten_by_the_mean_and_shown_to_be_by_the_whole_interval(
    balanced: float, low: float | None, above: bool, shown: bool
):
    known = AgainstChance(balanced=balanced, chance=0.5, images=1234, low=low)
    assert (known.above, known.is_proven) == (above, shown)
    assert known.doubt == (
        "not shown to beat chance: on 1,234 test images its balanced score is "
        f"{100 * balanced:.1f} %, and chance is 50.0 %"
    )
