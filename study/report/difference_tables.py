"""Where two tested candidates differ: class by class, and image by image."""

from collections.abc import Iterator

import pandas as pd

from study.errors import DataError
from study.process.terminal_table import amount
from study.report.formatting import Table, describe_difference, format_count, points
from study.report.scope import leaderboard_scope
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.predicted_classes import image_shares
from study.results.statistics import PairedDifference
from study.results.study_results import Results

ALL_CLASSES = "all classes"
"""What the row of all images of a part is called."""


def difference_tables(results: Results, one: str, other: str) -> tuple[Table, Table]:
    """Return where two candidates differ on the test images, by class and by image.

    Args:
        results: the results of the study.
        one: a label of the first candidate.
        other: a label of the second.

    Returns:
        A row per class and one for all images, which count single answers, with a note on what is
        counted and how the difference would vary over other test images; and a row per image that
        one of them gets right more often.

    Raises:
        DataError: a candidate was not tested, or no common seed kept predictions.
        LedgerError: a file of predictions is damaged.
    """
    board = leaderboard(results)
    first, second = (_tested(board, label) for label in (one, other))
    shares = image_shares(results, first.label, second.label)
    if shares.empty:
        raise DataError(f"'{one}' and '{other}' have no seed in common that kept its predictions")
    rows = []
    for part, of_part in shares.groupby(level="part"):
        for name, of_class in of_part.groupby(level="class"):
            rows.append([part, name, *_counts(of_class)])
        rows.append([part, ALL_CLASSES, *_counts(of_part)])
    header = ["part", "class", "answers", f"only {one} right", f"only {other} right", "Δ points"]
    differing = shares[shares["gain"] != 0].drop(columns=["seeds", "only_one", "only_other"])
    differing = differing.round(12).reset_index()
    note = " ".join(
        [
            _counted(shares),
            *_scores(board, shares, first, second, named=f"{one} less {other}"),
            *leaderboard_scope(board),
        ]
    )
    title = f"{one} and {other} on each class"
    return (
        Table(title, header, rows, left=2, keys=2, note=note).without_constant("part"),
        Table("", list(differing), differing.values.tolist()),
    )


def _counts(shares: pd.DataFrame) -> list[object]:
    """Return the answers of some rows of `image_shares`, those that differ, and Δ."""
    only_one, only_other = int(shares["only_one"].sum()), int(shares["only_other"].sum())
    answers = int(shares["seeds"].sum())
    gain = (only_one - only_other) / answers
    return [answers, only_one, only_other, points(gain)]


def _counted(shares: pd.DataFrame) -> str:
    """Return what the rows of a difference count, so that a reader can add them up."""
    seeds = int(shares["seeds"].iloc[0])
    images, answers = len(shares), int(shares["seeds"].sum())
    if seeds == 1:
        of = "the one seed that both were tested with and kept predictions of"
    else:
        of = f"the {seeds} seeds that both were tested with and kept predictions of"
    return (
        f"Counted are answers: each of {format_count(images)} test images with each of {of}, "
        f"{format_count(answers)} in all. “Only … right” is the number of answers that one gives "
        "rightly and the other does not. Δ is their difference in percent of the answers of the "
        "row, which are its images times the seeds."
    )


def _scores(
    board: Leaderboard, shares: pd.DataFrame, one: Entry, other: Entry, *, named: str
) -> Iterator[str]:
    """Yield how the scores of two candidates differ, with intervals and what they are over."""
    sentences = []
    for part, of_part in shares.groupby(level="part"):
        paired = board.difference(one, other, str(part))
        if paired is not None:
            sentences.append(f"{part} {_spelt_over(paired)}, {format_count(len(of_part))} images")
    paired = board.difference(one, other)
    if board.parts and paired is not None:
        sentences.append(f"{board.metric} {_spelt_over(paired)}")
    if sentences:
        yield f"Test scores, {named}: {'; '.join(sentences)}."
    if board.protocol.class_averaged:
        yield "These scores weigh each class alike, and the rows for all classes each image."


def _spelt_over(paired: PairedDifference) -> str:
    return f"{describe_difference(paired.difference)} over {amount(len(paired.seeds), 'seed')}"


def _tested(board: Leaderboard, label: str) -> Entry:
    if (entry := board.find_entry(label)) is None:
        tested = ", ".join(" = ".join(entry.labels) for entry in board.entries) or "none"
        raise DataError(f"no candidate '{label}' was tested; tested are: {tested}")
    return entry
