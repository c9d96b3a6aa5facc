"""Where a gain over CLIPFit as published comes from: rates, subset, strength and head.

A ladder leads from CLIPFit as published to the winner, and each of its steps makes one change. What
a change seems to add depends on those before it. So the subset and the head are also looked at in
the other order: CLIPFit's and the winner's subset, each without and with the head, are all tested
with the same seeds. The mean of a change over both orders (its Shapley value) does not depend on an
order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from study.config.labels import (
    PLAIN,
    PLAIN_STRENGTH,
    PUBLISHED,
    TUNED,
    TUNED_LINEAR,
    VARIANT,
)
from study.results.entries import Entry
from study.results.intervals import MeanInterval
from study.results.leaderboard import Leaderboard
from study.results.trial_results import BASELINE
from study.trial.study import BEST

Change = Literal["rates", "subset", "another method", "strength", "head"]
"""What a rung of the ladder has beyond another."""
RateSource = Literal["given", "searched", "borrowed"]
"""Where the learning rates of a rung come from."""

RUNGS: Mapping[str, tuple[Change, ...]] = {
    PUBLISHED: (),
    TUNED: ("rates",),
    PLAIN: ("subset",),
    PLAIN_STRENGTH: ("strength",),
    BEST: ("head",),
}
"""The ladder from CLIPFit as published to the winner: labels, and what each adds to the last.

Where the winner is a peer, such as LoRA, another method takes the place of the subset."""


class Step(NamedTuple):
    """A change of the ladder."""

    adds: Sequence[Change]
    """What the upper rung has beyond the lower one."""
    lower: Entry
    """The lower rung."""
    upper: Entry
    """The upper rung; the same entry where both are one configuration."""
    difference: MeanInterval | None
    """The difference `upper - lower` over common seeds; None without any, or for one entry."""


class Crossing(NamedTuple):
    """The subset and the head of the winner, each without and with the other."""

    corners: tuple[Entry, Entry, Entry, Entry]
    """Neither, the subset alone, the head alone, and both, which is the winner."""
    other_order: tuple[Step, Step]
    """The head first, and then the subset."""
    means: Mapping[tuple[Change, ...], MeanInterval | None]
    """What the subset adds, and what the head adds, each as the mean of both orders.

    The strength may change with the head. None where the corners have no seed in common."""


class Ladder(NamedTuple):
    """What each change between CLIPFit as published and the winner adds on test."""

    steps: Sequence[Step]
    """The changes one after another; empty without a winner, or while a rung has no score."""
    crossing: Crossing | None
    """The subset and the head in both orders; None unless the winner has another subset or other
    rates than tuned CLIPFit and a linear head, and tuned CLIPFit was tested with one at the same
    strength."""

    @property
    def head_in_one_order(self) -> bool:
        """Whether the gain of the winner's head was measured in one order alone."""
        if not self.steps or self.crossing:
            return False
        _, subset, *_, head = self.steps
        return subset.upper is not subset.lower and head.upper.settings.head == "linear"


def ladder(board: Leaderboard) -> Ladder:
    """Return the ladder from CLIPFit as published to the winner."""
    rungs = {}
    for label in RUNGS:
        entry = board.find_entry(label)
        if entry:
            rungs[label] = entry
    if not board.winner or len(rungs) < len(RUNGS):
        return Ladder((), None)
    steps = []
    for below, above in pairwise(RUNGS):
        adds = _subset_or_method(rungs[PLAIN]) if above == PLAIN else RUNGS[above]
        steps.append(_step(board, adds, rungs[below], rungs[above]))
    return Ladder(steps, _crossing(board, rungs[TUNED], rungs[PLAIN], board.winner))


def rate_source(board: Leaderboard, entry: Entry) -> RateSource | None:
    """Return where the learning rates of a candidate come from; None if it has no rates.

    They are "searched" if a search chose them by scores of the same configuration. The winner
    without its head borrows the rates that were best with the head, and tuned CLIPFit with a head
    those that were best without one.
    """
    if not entry.settings.rates:
        return None
    arm = VARIANT
    for trial in board.stage("search"):
        if trial.trial_id == entry.source_trial:
            arm = trial.arm
    if arm == BASELINE:
        return "given"
    if arm == VARIANT:
        return "borrowed"
    return "searched"


def _step(board: Leaderboard, adds: tuple[Change, ...], lower: Entry, upper: Entry) -> Step:
    return Step(adds, lower, upper, board.difference(upper, lower))


def _subset_or_method(plain: Entry) -> tuple[Change, ...]:
    """Return what the winner without head and strength has beyond tuned CLIPFit."""
    if plain.settings.peer:
        return ("another method",)
    return RUNGS[PLAIN]


def _crossing(
    board: Leaderboard, neither: Entry, subset_alone: Entry, both: Entry
) -> Crossing | None:
    head_alone = board.find_entry(TUNED_LINEAR)
    if not head_alone or subset_alone is neither or not _same_head(head_alone, both):
        return None
    subset = _subset_or_method(subset_alone)
    head: tuple[Change, ...] = ("head",)
    if both.settings.strength != 1.0:
        head = ("strength", "head")
    corners = (neither, subset_alone, head_alone, both)
    return Crossing(
        corners,
        other_order=(
            _step(board, head, neither, head_alone),
            _step(board, subset, head_alone, both),
        ),
        means={
            subset: _mean_difference(board, corners, (-1, 1, -1, 1)),
            head: _mean_difference(board, corners, (-1, -1, 1, 1)),
        },
    )


def _same_head(entry: Entry, winner: Entry) -> bool:
    """Return whether both have a linear head, at one strength where anything is tuned."""
    if winner.settings.head != "linear":
        return False
    untuned = winner.settings.subset == "none" and winner.settings.peer is None
    return untuned or entry.settings.strength == winner.settings.strength


def _mean_difference(
    board: Leaderboard, corners: Sequence[Entry], signs: Sequence[int]
) -> MeanInterval | None:
    """Return the mean of two differences between corners.

    The head alone may be the same entry as the winner, which then drops out of the mean for the
    subset. The mean is None if the corners that remain have no seed in common.

    Args:
        board: the leaderboard.
        corners: the corners, some of which may be one entry.
        signs: 1 for the upper corners of the differences, −1 for the lower ones.
    """
    weights: Counter[str] = Counter()
    scores = {}
    for corner, sign in zip(corners, signs, strict=True):
        weights[corner.label] += sign
        scores[corner.label] = corner.scores
    terms = [(label, scores[label], weight / 2) for label, weight in weights.items() if weight]
    return board.resampled.weighted_sum(terms)
