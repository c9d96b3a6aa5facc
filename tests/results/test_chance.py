"""What guessing scores in balanced accuracy, and what is known to score more."""

from collections import Counter

import pytest

from study.protocols import find_protocol
from study.results.chance import ChanceComparison, balanced_scores
from study.trial.predictions import Confusion


@pytest.mark.parametrize(
    "protocol, parts, expected",
    [
        ("few_shot", {"accuracy": [[90, 79], [10, 9]]}, (0.88889, 0.5)),
        ("few_shot", {}, None),
        # Each part is balanced, and then their harmonic mean is taken.
        ("base_to_new", {"base": [[90, 90], [10, 2]], "new": [[9, 0], [9, 9]]}, (0.54545, 0.5)),
        # All names compete.
        ("generalized", {"base": [[90, 90], [10, 2]], "new": [[9, 0], [9, 9]]}, (0.54545, 0.25)),
        # The mean over the targets, without the source.
        (
            "transfer",
            {"accuracy": [[1, 1], [1, 1]], "other": [[90, 90], [10, 0]], "third": [[4, 4]] * 4},
            (0.75, 0.375),
        ),
    ],
)
def test_every_class_of_a_part_counts_alike(
    protocol: str, parts: dict[str, list[list[int]]], expected: tuple[float, float] | None
):
    found: Confusion = Counter()
    for part, classes in parts.items():
        for label, (images, right) in enumerate(classes):
            found[part, str(label), str(label)] = right
            found[part, str(label), "another"] = images - right
    known = expected and pytest.approx(expected, abs=1e-5)
    assert balanced_scores(+found, find_protocol(protocol)) == known


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
    known = ChanceComparison(balanced=balanced, chance=0.5, images=1234, low=low)
    assert (known.above, known.is_proven) == (above, shown)
    assert "on 1,234 test images" in known.caveat
