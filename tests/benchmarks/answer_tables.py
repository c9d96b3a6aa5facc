"""What many whole choices come to on test: means over choices and differences, as tables.

A choice is one study: its own shots, folds, search and pick by validation. Every mean, interval and
p here is over choices. Scores are fractions, and tables show percent and points.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paired import table

from study.report.formatting import percent, points, probability
from study.results.intervals import MeanInterval, mean_interval
from study.results.resampling import Resampled
from study.results.statistics import Comparison, PairedDifference, adjust_by_holm

PEER = "peer"
"""The label under which a choice has the peer that its own validation ranked best."""
WINNER, TUNED = "best", "clipfit-tuned"
ROWS = {
    "zero-shot": "zero-shot CLIP",
    "clipfit": "CLIPFit as published",
    "bitfit": "BitFit, published rate",
    "ln": "all LayerNorms, published rate",
    TUNED: "CLIPFit, rates tuned by its own search",
    "linear": "linear on frozen CLIP",
    "full": "full fine-tuning, tuned",
    "lora": "LoRA, tuned",
    WINNER: "winner ★",
    "best-full-strength": "winner at α 1",
    "best-text": "winner without its head",
    "best-plain": "winner without head, at α 1",
    "best-calibrated": "winner with calibrated stacking",
    "best-with-delta": "best that writes a delta",
    "smallest": "smallest within one standard error",
}
"""The configurations that a table shows, by their labels in a study, in the order of the rows."""
FIXED = {"tuned CLIPFit": TUNED, "the peer that validation ranks best": PEER}
"""What the winner is compared with by tests, by name."""
LADDER = ("clipfit", TUNED, "best-plain", "best-text", WINNER)
ADDED = ("rates", "subset", "strength", "head")
"""What each step of the ladder adds."""


@dataclass(frozen=True)
class Tested:
    """One configuration of one choice on test."""

    scores: Mapping[int, float]
    """The protocol's score of each test seed."""
    parts: Mapping[str, float]
    """The means over these seeds of the parts of the score, and of what stands beside it."""
    trainable: int
    """The number of trained values."""
    trained: str
    """The label under which it was trained: labels of one training are one configuration."""
    val_score: float | None = None
    """Its validation score; None for one that validation did not score."""

    @property
    def score(self) -> float:
        """The mean over the test seeds."""
        return statistics.fmean(self.scores.values())


@dataclass(frozen=True)
class Choice:
    """What one study chose and tested."""

    seed: int
    """The seed of the study."""
    winner: str
    """The winner's settings in words."""
    seconds: float
    """How long the study took."""
    tested: Mapping[str, Tested]
    """The tested configurations by every label that they have."""


def configurations(choices: Sequence[Choice]) -> list[list[str]]:
    """Return a row per configuration: scores, intervals, parts, size, and how often it won."""
    parts = list(choices[0].tested[WINNER].parts)
    rows = []
    for label, name in ROWS.items():
        having = [choice for choice in choices if label in choice.tested]
        if not having:
            continue
        own = [choice.tested[label] for choice in having]
        won = sum(
            one.trained == c.tested[WINNER].trained for one, c in zip(own, having, strict=True)
        )
        rows.append(
            [
                name,
                spread(mean_interval([one.score for one in own])),
                *(percent(statistics.fmean(one.parts[part] for one in own)) for part in parts),
                f"{statistics.median(one.trainable for one in own):,.0f}",
                f"{won}/{len(choices)}" if label != WINNER else "",
                *([f"in {len(own)} of {len(choices)}"] if len(own) < len(choices) else [""]),
            ]
        )
    return rows


def differences(
    choices: Sequence[Choice], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, PairedDifference]:
    """Return paired differences over choices; a pair that is one configuration in all falls away.

    A choice in which both labels are one configuration counts with a difference of 0: that is what
    the choice gained there.

    Args:
        choices: the choices.
        pairs: the labels of each difference, minuend first, by a name.
    """
    found = {}
    for name, (one, other) in pairs.items():
        both = [c.tested for c in choices if {one, other} <= c.tested.keys()]
        if all(tested[one].trained == tested[other].trained for tested in both):
            continue
        values, base = (
            {c.seed: c.tested[label].score for c in choices if label in c.tested}
            for label in (one, other)
        )
        if (paired := Resampled({}, {}).difference(one, values, other, base)) is not None:
            found[name] = paired
    return found


def fixed(choices: Sequence[Choice]) -> dict[str, Comparison]:
    """Return the comparisons of the winner that were fixed beforehand, Holm-corrected."""
    paired = differences(choices, {name: (WINNER, label) for name, label in FIXED.items()})
    p_values = adjust_by_holm([one.p_value for one in paired.values()])
    return dict(zip(paired, map(Comparison, paired.values(), p_values), strict=True))


def ladder(choices: Sequence[Choice]) -> dict[str, PairedDifference]:
    """Return the difference that each step makes from published CLIPFit to the winner."""
    steps = zip(ADDED, LADDER[1:], LADDER[:-1], strict=True)
    return differences(choices, {added: (upper, lower) for added, upper, lower in steps})


def choices_table(title: str, choices: Sequence[Choice]) -> str:
    """Return the table of configurations, then comparisons, ladder and winners, in Markdown."""
    parts = list(choices[0].tested[WINNER].parts)
    heading = ["configuration", "test %, mean ± 95 % over choices"]
    heading += [*parts, "trained", "is the winner", ""]
    rows = configurations(choices)
    if not any(row[-1] for row in rows):
        heading, rows = heading[:-1], [row[:-1] for row in rows]
    compared = [
        [
            f"winner − {name}",
            spelt(one.paired.difference),
            probability(one.holm_p),
        ]
        for name, one in fixed(choices).items()
    ]
    steps = [[name, spelt(one.difference)] for name, one in ladder(choices).items()]
    won = Counter(choice.winner for choice in choices)
    lines = [
        table(f"{title}: {len(choices)} choices", heading, rows),
        table(
            "Fixed comparisons, points",
            ["", "Δ, 95 % over choices", "Holm p"],
            compared,
        ),
        table("Ladder, points", ["step", "Δ, 95 % over choices"], steps),
        "Winners: " + "; ".join(f"{count} × {name}" for name, count in won.most_common()) + ".\n",
    ]
    return "\n".join(lines)


def spread(found: MeanInterval) -> str:
    """Return a mean in percent with half its interval."""
    half = "" if found.half_width is None else f" ± {percent(found.half_width)}"
    return f"{percent(found.mean)}{half}"


def spelt(found: MeanInterval) -> str:
    """Return a mean difference in points with its interval."""
    if found.low is None or found.high is None:
        return points(found.mean)
    return f"{points(found.mean)} [{points(found.low)}, {points(found.high)}]"
