"""The ladder as a table: what each change adds, and the subset and the head in both orders."""

from collections.abc import Iterator, Mapping, Sequence

from study.config.labels import PUBLISHED
from study.report.formatting import Table, difference_cell, score_cell
from study.report.names import starred_name
from study.report.sentences import sentences
from study.results.entries import Entry
from study.results.ladder import Ladder, RateSource, Step, ladder, rate_source
from study.results.leaderboard import Leaderboard

Row = Sequence[object]
_RATES: Mapping[RateSource | None, str] = {
    "given": "given",
    "searched": "its own",
    "borrowed": "not its own",
    None: "",
}
"""The words for where the learning rates of a candidate come from."""
_JOIN = " and "
TITLE = "From CLIPFit as published to the winner"


def ladder_table(board: Leaderboard) -> Table:
    """Return what each step from CLIPFit as published to the winner adds, in points.

    If all four corners of subset × head are tested, the two are added in both orders, and rows with
    the mean of both orders follow.
    """
    winner_ladder = ladder(board)
    rungs = [step.upper for step in winner_ladder.steps]
    if winner_ladder.crossing:
        rungs += winner_ladder.crossing.corners
    (note,) = sentences(
        "report/ladder",
        ladder=winner_ladder,
        rate_sources={rate_source(board, rung) for rung in rungs},
        borrowed=_RATES["borrowed"],
    )
    return Table(
        TITLE,
        ["step", "candidate", "rates", "test %", "Δ points"],
        list(_rows(board, winner_ladder)),
        left=3,
        keys=1,
        note=note,
    )


def _rows(board: Leaderboard, winner_ladder: Ladder) -> Iterator[Row]:
    published = board.find_entry(PUBLISHED)
    if winner_ladder.steps and published:
        yield _row(board, "published", published, score_cell(published.test), None)
    for step in winner_ladder.steps:
        yield _step_row(board, step, f"+ {_JOIN.join(step.adds)}")
    crossing = winner_ladder.crossing
    if not crossing:
        return
    for step in crossing.other_order:
        yield _step_row(board, step, f"other order: + {_JOIN.join(step.adds)}")
    for adds, mean in crossing.means.items():
        yield [f"{_JOIN.join(adds)}, mean of both orders", "", "", None, difference_cell(mean)]


def _step_row(board: Leaderboard, step: Step, title: str) -> Row:
    if step.upper is step.lower:
        return _row(board, title, step.upper, "same configuration", None)
    score = score_cell(step.upper.test)
    return _row(board, title, step.upper, score, difference_cell(step.difference))


def _row(board: Leaderboard, title: str, entry: Entry, score: str, difference: object) -> Row:
    return [title, starred_name(board, entry), _RATES[rate_source(board, entry)], score, difference]
