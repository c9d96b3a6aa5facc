"""What the test images of each class are taken for: tables of classes and confusions, heat maps."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from study.report.charts import MANY, Axis, Chart, Panel, Series
from study.report.formatting import Table, format_count, percent, points
from study.results.image_counts import ImageCounts, image_counts
from study.results.leaderboard import Leaderboard
from study.results.predicted_classes import class_accuracies, confusions
from study.results.study_results import Results

CONFUSION = "confusion"
"""What the names of heat maps begin with."""
MOST_MAPS = 4
"""The largest number of parts of the test images that have a heat map."""
NAMED_ROWS, NAMED_COLUMNS = 150, 40
"""The largest numbers of classes whose names stand beside and below a heat map."""
_LONGEST = 24
"""The most characters of a name beside a heat map."""


def class_table(results: Results, board: Leaderboard) -> Table:
    """Return the images of each class, and the accuracy on it before and after tuning."""
    counts = image_counts(results, board)
    table = Table(
        "",
        ["class", "part", "trained on", "tested on", "zero-shot %", f"{_chosen(board)} %", "gain"],
        [
            [
                entry.true,
                entry.part,
                # Classes of another dataset are not trained, even where they have the same name.
                None
                if counts.trained is None or entry.part in board.targets
                else counts.trained.get(entry.true, 0),
                counts.tested.get((entry.part, entry.true)),
                percent(entry.before),
                percent(entry.after),
                None if entry.gain is None else points(entry.gain),
            ]
            for entry in class_accuracies(results, board)
        ],
        left=2,
        note=f"{_in_all(counts)} Accuracy on test images, mean over seeds, the worst classes "
        "first. Single classes have few test images, so single rows are uncertain.",
    )
    return table.without_constant("part")


def _in_all(counts: ImageCounts) -> str:
    """Return a sentence on the images in all."""
    tested = f"{format_count(sum(counts.tested.values()))} test images"
    if counts.trained is None:
        return f"Scored on {tested}."
    return f"Each seed: {format_count(sum(counts.trained.values()))} training images, {tested}."


def confusion_table(results: Results, board: Leaderboard) -> Table:
    """Return the most frequent confusions."""
    table = Table(
        "Most frequent confusions",
        ["images of", "taken for", "part", "zero-shot %", f"{_chosen(board)} %"],
        [
            [c.true, c.predicted, c.part, percent(c.before), percent(c.after)]
            for c in confusions(results, board)
        ],
        left=3,
        note="Share of the images of a class that were taken for another, over all seeds.",
    )
    return table.without_constant("part")


def confusion_charts(results: Results, board: Leaderboard) -> tuple[Chart, ...]:
    """Draw what the choice takes the test images of each class for, a heat map a part."""
    shares: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in (*class_accuracies(results, board), *confusions(results, board, most=None)):
        shares[row.part][row.true, row.predicted] = row.after
    order = image_counts(results, board).order if shares else ()
    ranks = {name: rank for rank, name in enumerate(order)}

    def key(name: str) -> tuple[Any, ...]:
        return ranks.get(name, len(ranks)), name

    return tuple(
        _heat_map(
            f"{CONFUSION}-{number}" if len(shares) > 1 else CONFUSION,
            f"What test images are taken for{f', part “{part}”' if len(shares) > 1 else ''}",
            sorted({true for true, _ in own}, key=key),
            sorted({name for pair in own for name in pair}, key=key),
            own,
            _chosen(board),
        )
        for number, (part, own) in enumerate(list(shares.items())[:MOST_MAPS], start=1)
    )


def _heat_map(
    name: str,
    title: str,
    rows: list[str],
    columns: list[str],
    shares: Mapping[tuple[str, str], float],
    chosen: str,
) -> Chart:
    # The first row is to be at the top.
    places = {true: len(rows) - 1 - number for number, true in enumerate(rows)}
    cells = [(true, predicted, 100 * share) for (true, predicted), share in shares.items()]
    series = Series(
        "shares",
        [columns.index(predicted) for _, predicted, _ in cells],
        [places[true] for true, *_ in cells],
        style="shares",
        values=[share if true == predicted else -share for true, predicted, share in cells],
    )
    size = max(len(rows), len(columns))
    unnamed = len(columns) > NAMED_COLUMNS
    return Chart(
        name,
        title,
        "A row for each class, a column for what its images are taken for: the share of the "
        f"row’s test images in percent, over all seeds of the {chosen}. Blue is right, red is "
        "wrong; the colour grows with the root of the share, so that few mistakes are seen too."
        + (" Columns are in the order of the rows." if unnamed else "")
        + (" The largest shares stand in the table of confusions." if size > MANY else ""),
        (
            Panel(
                Axis("taken for", names=_labels(columns, NAMED_COLUMNS)),
                Axis("class", names=_labels(rows, NAMED_ROWS)[::-1]),
                (series,),
            ),
        ),
        otherwise="no prediction was kept",
        width=min(9.5, 2.4 + 0.36 * len(columns)),
        height=min(12.0, 2.0 + 0.27 * len(rows)),
    )


def _labels(names: list[str], most: int) -> list[str]:
    if len(names) > most:
        return [""] * len(names)
    return [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]


def _chosen(board: Leaderboard) -> str:
    # A choice no better than chance is no winner, but its classes are shown to explain why.
    return "winner" if board.winner else "choice"
