"""Where two tested candidates differ: class by class, and image by image."""

import pandas as pd

from study.errors import DataError
from study.report.formatting import Table, points
from study.report.scope import leaderboard_scope
from study.report.sentences import sentences
from study.results.entries import Entry
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.predicted_classes import image_shares
from study.results.study_results import Results
from study.results.trial_results import SOURCE

ALL_CLASSES = "all classes"
"""The name of the row for all images of a part."""


def difference_tables(results: Results, first_label: str, second_label: str) -> tuple[Table, Table]:
    """Return where two candidates differ on the test images, by class and by image.

    Args:
        results: the results of the study.
        first_label: a label of the first candidate.
        second_label: a label of the second.

    Returns:
        A row per class and one for all images, which count single answers, with a note on what is
        counted and how the difference would vary over other test images; and a row per image that
        one of them gets right more often.

    Raises:
        DataError: a candidate was not tested, or no common seed kept predictions.
        LedgerError: a file of predictions is damaged.
    """
    board, first, second, shares = _compare(results, first_label, second_label)
    rows = []
    for part, of_part in shares.groupby(level="part"):
        for name, of_class in of_part.groupby(level="class"):
            rows.append([part, name, *_answer_cells(of_class)])
        rows.append([part, ALL_CLASSES, *_answer_cells(of_part)])
    right = [f"only {first_label} right", f"only {second_label} right"]
    said = sentences(
        "report/difference",
        board=board,
        first=first,
        second=second,
        labels=(first_label, second_label),
        images_of_part=shares.groupby(level="part").size().to_dict(),
        seeds=int(shares["seeds"].iloc[0]),
        answers=int(shares["seeds"].sum()),
        source=SOURCE,
    )
    said += leaderboard_scope(board)
    by_class = Table(
        f"{first_label} and {second_label} on each class",
        ["part", "class", "answers", *right, "Δ points"],
        rows,
        left=2,
        keys=2,
        note=" ".join(said),
    )
    differing = _differing(shares)
    by_image = Table("", list(differing), differing.values.tolist())
    return by_class.without_constant("part"), by_image


def difference_record(results: Results, first_label: str, second_label: str) -> dict[str, object]:
    """Return the same as `difference_tables`, with the numbers in full precision.

    Raises:
        DataError: see there.
        LedgerError: see there.
    """
    *_, shares = _compare(results, first_label, second_label)
    counts = shares.groupby(level=["part", "class"])[["seeds", "only_one", "only_other"]].sum()
    counts["gain"] = (counts["only_one"] - counts["only_other"]) / counts["seeds"]
    classes = counts.rename(columns={"seeds": "answers"}).reset_index()
    return {
        "one": first_label,
        "other": second_label,
        "classes": classes.to_dict("records"),
        "images": _differing(shares).to_dict("records"),
    }


def _compare(
    results: Results, first_label: str, second_label: str
) -> tuple[Leaderboard, Entry, Entry, pd.DataFrame]:
    """Return the leaderboard, both candidates, and the `image_shares` of them."""
    board = leaderboard(results)
    first = _tested_entry(board, first_label)
    second = _tested_entry(board, second_label)
    shares = image_shares(results, first.label, second.label)
    if shares.empty:
        raise DataError(
            f"'{first.label}' and '{second.label}' have no seed in common that kept its predictions"
        )
    return board, first, second, shares


def _answer_cells(shares: pd.DataFrame) -> list[object]:
    """Return the answers of some rows of `image_shares`, those that differ, and Δ."""
    counts = shares[["seeds", "only_one", "only_other"]].sum()
    answers, only_first, only_second = map(int, counts)
    return [answers, only_first, only_second, points((only_first - only_second) / answers)]


def _differing(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images on which the candidates differ."""
    differing = shares[shares["gain"] != 0].drop(columns=["seeds", "only_one", "only_other"])
    return differing.round(12).reset_index()


def _tested_entry(board: Leaderboard, label: str) -> Entry:
    """Return the candidate with a label; raise DataError if none was tested."""
    entry = board.find_entry(label)
    if not entry:
        names = [" = ".join(tested.labels) for tested in board.entries]
        tested_names = ", ".join(names) or "none"
        if board.ablates:
            tested_names += (
                "; an ablation has cells, which `leaderboard NAME --base CELL` compares with one"
            )
        raise DataError(f"no candidate '{label}' was tested; tested are: {tested_names}")
    return entry
