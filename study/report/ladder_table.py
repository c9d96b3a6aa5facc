"""The ladder as a table: a change at a time, and the subset and the head in both orders."""

from collections.abc import Iterator, Sequence

from study.report.formatting import Table, difference_cell, score_cell
from study.results.ladder import BORROWED, Crossing, Ladder, Step, ladder, rates_of
from study.results.leaderboard import Leaderboard
from study.results.names import PUBLISHED, RUNGS
from study.results.statistics import PairedDifference

Row = Sequence[object]
TITLE = "From CLIPFit as published to the winner"
NOTE = (
    "Each step is the paired difference to the row above, over common seeds; the first in the "
    "other order is to tuned CLIPFit."
)


def ladder_table(board: Leaderboard) -> Table:
    """Return what each step from CLIPFit as published to the winner adds, in points.

    The subset and the head are there in both orders, with the mean of them, where the corners of
    their 2 × 2 table are tested.
    """
    steps = ladder(board)
    return Table(
        TITLE,
        ["step", "candidate", "rates", "test %", "Δ points"],
        [*_rows(board, steps)],
        left=3,
        keys=1,
        note=" ".join([NOTE, *_notes(board, steps)]) if steps.steps else NOTE,
    )


def _rows(board: Leaderboard, steps: Ladder) -> Iterator[Row]:
    published = board.entry(PUBLISHED)
    if steps.steps and published is not None:
        scores = (score_cell(published.test), None)
        yield [RUNGS[PUBLISHED], published.marked_name, rates_of(board, published), *scores]
    for step in steps.steps:
        yield _step_row(board, step, f"+ {step.adds}")
    if steps.crossing is not None:
        yield from _crossing_rows(board, steps.crossing)


def _crossing_rows(board: Leaderboard, crossing: Crossing) -> Iterator[Row]:
    for step in crossing.other_order:
        yield _step_row(board, step, f"other order: + {step.adds}")
    for adds, mean in crossing.means.items():
        yield [f"{adds}, mean of both orders", "", "", None, _difference(mean)]


def _step_row(board: Leaderboard, step: Step, title: str) -> Row:
    rung = [title, step.upper.marked_name, rates_of(board, step.upper)]
    if step.upper is step.lower:
        return [*rung, "same configuration", None]
    return [*rung, score_cell(step.upper.test), _difference(step.paired)]


def _difference(paired: PairedDifference | None) -> object:
    return None if paired is None else difference_cell(paired)


def _notes(board: Leaderboard, steps: Ladder) -> Iterator[str]:
    """Yield what qualifies a ladder that is there."""
    rungs = [step.upper for step in steps.steps]
    if steps.crossing is not None:
        rungs += steps.crossing.corners
    if any(rates_of(board, rung) == BORROWED for rung in rungs):
        yield (
            f"Rates that are “{BORROWED}” were chosen for another row. At its own best rates such "
            "a row might score higher, so its step may tell of rates as well."
        )
    if steps.in_one_order:
        yield (
            "The head is added last, and what it adds may depend on that: tuned CLIPFit was not "
            "tested with a linear head at this strength."
        )
