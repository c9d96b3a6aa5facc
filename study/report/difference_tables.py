"""Where two tested candidates differ: class by class, and image by image."""

import pandas as pd

from study.errors import DataError
from study.process.terminal_table import amount
from study.report.formatting import Table, describe_difference, format_count, points
from study.report.judgements import metric_name
from study.report.scope import leaderboard_scope
from study.results.entries import Entry
from study.results.intervals import MeanInterval
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
    board = leaderboard(results)
    first = _tested_entry(board, first_label)
    second = _tested_entry(board, second_label)
    shares = _shares(results, first, second)
    rows = []
    for part, of_part in shares.groupby(level="part"):
        for name, of_class in of_part.groupby(level="class"):
            rows.append([part, name, *_answer_cells(of_class)])
        rows.append([part, ALL_CLASSES, *_answer_cells(of_part)])
    right = [f"only {first_label} right", f"only {second_label} right"]
    sentences = [_explain_counts(shares)]
    differences = _score_differences(board, shares, first, second)
    if differences:
        signed = f"{first_label} less {second_label}"
        sentences.append(f"Test scores, {signed}: {'; '.join(differences)}.")
    if board.protocol.class_averaged:
        sentences.append(
            "These scores weigh each class alike, and the rows for all classes each image."
        )
    sentences += leaderboard_scope(board)
    by_class = Table(
        f"{first_label} and {second_label} on each class",
        ["part", "class", "answers", *right, "Δ points"],
        rows,
        left=2,
        keys=2,
        note=" ".join(sentences),
    )
    return by_class.without_constant("part"), _image_table(shares)


def difference_record(results: Results, first_label: str, second_label: str) -> dict[str, object]:
    """Return the same as `difference_tables`, with the numbers in full precision.

    Raises:
        DataError: see there.
        LedgerError: see there.
    """
    board = leaderboard(results)
    first = _tested_entry(board, first_label)
    second = _tested_entry(board, second_label)
    shares = _shares(results, first, second)
    counts = shares.groupby(level=["part", "class"])[["seeds", "only_one", "only_other"]].sum()
    counts["gain"] = (counts["only_one"] - counts["only_other"]) / counts["seeds"]
    classes = counts.rename(columns={"seeds": "answers"}).reset_index()
    return {
        "one": first_label,
        "other": second_label,
        "classes": classes.to_dict("records"),
        "images": _differing(shares).to_dict("records"),
    }


def _shares(results: Results, first: Entry, second: Entry) -> pd.DataFrame:
    shares = image_shares(results, first.label, second.label)
    if shares.empty:
        raise DataError(
            f"'{first.label}' and '{second.label}' have no seed in common that kept its predictions"
        )
    return shares


def _answer_cells(shares: pd.DataFrame) -> list[object]:
    """Return the answers of some rows of `image_shares`, those that differ, and Δ."""
    only_first = int(shares["only_one"].sum())
    only_second = int(shares["only_other"].sum())
    answers = int(shares["seeds"].sum())
    gain = (only_first - only_second) / answers
    return [answers, only_first, only_second, points(gain)]


def _image_table(shares: pd.DataFrame) -> Table:
    """Return the images on which the candidates differ, with the share of seeds of each."""
    differing = _differing(shares)
    return Table("", list(differing), differing.values.tolist())


def _differing(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images on which the candidates differ."""
    differing = shares[shares["gain"] != 0].drop(columns=["seeds", "only_one", "only_other"])
    return differing.round(12).reset_index()


def _explain_counts(shares: pd.DataFrame) -> str:
    """Return what the rows of a difference count, so that a reader can add them up."""
    seeds = int(shares["seeds"].iloc[0])
    images = len(shares)
    answers = int(shares["seeds"].sum())
    if seeds == 1:
        models = "the one seed that both were tested with and kept predictions of"
    else:
        models = f"the {seeds} seeds that both were tested with and kept predictions of"
    return (
        f"Counted are answers: each of {format_count(images)} test images with each of {models}, "
        f"{format_count(answers)} in all. “Only … right” is the number of answers that one gives "
        "rightly and the other does not. Δ is their difference in percent of the answers of the "
        "row, which are its images times the seeds."
    )


def _score_differences(
    board: Leaderboard, shares: pd.DataFrame, first: Entry, second: Entry
) -> list[str]:
    """Return how the scores of two candidates differ, by part and in all, with intervals."""
    differences = []
    for part, of_part in shares.groupby(level="part"):
        score_name = title = str(part)
        if score_name == "accuracy" and SOURCE in board.scored_datasets:
            score_name = SOURCE
            title = f"{SOURCE} (part “{part}”)"
        difference = board.difference(first, second, score_name)
        if difference:
            images = format_count(len(of_part))
            differences.append(f"{title} {_difference_over_seeds(difference)}, {images} images")
    difference = board.difference(first, second)
    if difference and (board.parts or board.scored_datasets):
        differences.append(f"{metric_name(board)} {_difference_over_seeds(difference)}")
    return differences


def _difference_over_seeds(difference: MeanInterval) -> str:
    return f"{describe_difference(difference)} over {amount(difference.n, 'seed')}"


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
