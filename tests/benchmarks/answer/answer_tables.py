"""What many whole choices come to on test: means over choices and differences, as tables.

A choice is one study: its own shots, folds, search and pick by validation. Every mean, interval and
p is over choices. Scores are fractions, and tables show percent and points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.report.formatting import format_difference, format_mean, probability
from study.results.intervals import MeanInterval, mean_interval
from study.results.leaderboard import Leaderboard
from study.results.resampling import Resampled
from study.results.statistics import make_comparisons
from tests.benchmarks.measuring import table

PEER = "peer"
"""The label under which a choice has the peer that its own validation ranked best."""
WINNER, TUNED = "best", "clipfit-tuned"
PLANNED = {"tuned CLIPFit": (WINNER, TUNED), "the best peer": (WINNER, PEER)}
"""The comparisons that were fixed beforehand, by what the winner is compared with."""
LADDER = {
    "rates": (TUNED, "clipfit"),
    "subset": ("best-plain", TUNED),
    "strength": ("best-text", "best-plain"),
    "head": (WINNER, "best-text"),
}
"""The two configurations of each step from published CLIPFit to the winner, by what it adds."""


@dataclass(frozen=True)
class Choice:
    """What one study chose and tested."""

    seed: int
    """The seed of the study."""
    scores: Mapping[str, float]
    """The mean test score of each configuration, by every label that it has."""
    trained: Mapping[str, str]
    """The label that a configuration was trained under, by every label that it has."""


def read_choice(seed: int, board: Leaderboard) -> Choice:
    """Return what a study chose and tested."""
    scores, trained = {}, {}
    for entry in board.entries:
        labels = [*entry.labels]
        if board.top_peer in labels:
            labels.append(PEER)
        for label in labels:
            scores[label] = entry.test.mean
            trained[label] = entry.label
    return Choice(seed, scores, trained)


def paired_differences(
    choices: Sequence[Choice], pairs: Mapping[str, tuple[str, str]]
) -> dict[str, MeanInterval]:
    """Return paired differences over choices, without pairs that are one configuration in all.

    A choice in which both labels are one configuration counts with a difference of 0: that is what
    the choice gained there.

    Args:
        choices: the choices.
        pairs: the labels of each difference, minuend first, by a name.
    """
    differences = {}
    for name, (label, base) in pairs.items():
        scores, base_scores, differ = {}, {}, False
        for choice in choices:
            if label in choice.scores and base in choice.scores:
                scores[choice.seed] = choice.scores[label]
                base_scores[choice.seed] = choice.scores[base]
                differ |= choice.trained[label] != choice.trained[base]
        difference = Resampled({}, {}).difference(label, scores, base, base_scores)
        if differ and difference is not None:
            differences[name] = difference
    return differences


def answer_tables(title: str, choices: Sequence[Choice]) -> str:
    """Return the tables of configurations, of planned comparisons and of the ladder."""
    rows = []
    labels = dict.fromkeys(label for choice in choices for label in choice.scores)
    for label in labels:
        mean = mean_interval([one.scores[label] for one in choices if label in one.scores])
        rows.append([label, format_mean(mean), str(mean.n)])
    header = ("configuration", "test %, mean ± 95 % over choices", "choices that tested it")
    texts = [table(f"{title}: {len(choices)} choices", header, rows)]
    comparisons = make_comparisons(paired_differences(choices, PLANNED))
    rows = []
    for name, comparison in comparisons.items():
        cells = [format_difference(comparison), probability(comparison.holm_p)]
        rows.append([f"winner − {name}", *cells])
    texts.append(table("Planned comparisons, points", ("", "Δ", "Holm p"), rows))
    rows = []
    for name, step in paired_differences(choices, LADDER).items():
        rows.append([name, format_difference(step)])
    texts.append(table("Ladder, points", ("step", "Δ"), rows))
    return "\n".join(texts)
