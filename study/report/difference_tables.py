"""What confirmed candidates predict: each class before and after tuning, and image by image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from study.config.labels import ZERO_SHOT
from study.errors import DataError
from study.process.terminal_table import amount
from study.report.formatting import Table, count, points, spelt
from study.report.scope import scope_of
from study.results.leaderboard import Entry, Leaderboard, leaderboard
from study.results.statistics import PairedDifference
from study.results.study_results import Results, TrialResult
from study.trial.predictions import images_of, read_predictions

ALL_CLASSES = "all classes"
"""What the row of all images of a part is called."""


def class_accuracies(results: Results, board: Leaderboard) -> tuple[Any, ...]:
    """Return each class's accuracy before and after tuning, the worst of each part first.

    Returns:
        One row of `_shares` per class; none while validation has chosen no candidate.
    """
    shares = _shares(results, board)
    own = shares[shares["true"] == shares["predicted"]].sort_values(["part", "after", "true"])
    return tuple(own.itertuples(index=False))


def confusions(results: Results, board: Leaderboard, most: int | None = 12) -> tuple[Any, ...]:
    """Return the most frequent confusions on test of the chosen candidate, beside zero-shot.

    Args:
        results: the results of the study.
        board: its leaderboard.
        most: the largest number of confusions to return, as rows of `_shares`; None means all.
    """
    shares = _shares(results, board)
    wrong = shares[shares["true"] != shares["predicted"]].sort_values(
        ["after", "part", "true", "predicted"], ascending=[False, True, True, True]
    )
    return tuple(wrong[:most].itertuples(index=False))


def _shares(results: Results, board: Leaderboard) -> pd.DataFrame:
    """Return the shares of each class's images that are taken for each class, over all seeds.

    Returns:
        A row per pair of classes: the `part` of the test images ("accuracy" for all classes,
        "base", "new" or a transfer target), the `true` and the `predicted` class, the share
        `before`, of zero-shot predictions, and `after`, of those of the candidate that validation
        chose, as fractions, and the `gain`. Where the classes are the same, the share is the
        accuracy of the class. `before` and `gain` are None when zero-shot's were not recorded.
    """
    labels = (ZERO_SHOT, board.chosen.label) if board.chosen else ()
    before, after = [_shares_of(results.confirmed(label)) for label in labels] or ({}, {})
    rows = [
        (*pair, was, share, None if was is None else share - was)
        for pair, share in after.items()
        for was in [before.get(pair, 0.0) if before else None]
    ]
    return pd.DataFrame(rows, columns=["part", "true", "predicted", "before", "after", "gain"])


def _shares_of(trials: Sequence[TrialResult]) -> dict[tuple[str, str, str], float]:
    """Return shares by part, true and predicted class; every class's accuracy is among them."""
    counts = sum((trial.confusion for trial in trials), Counter[tuple[str, str, str]]())
    images = images_of(counts)
    own = ((part, true, true) for part, true in images)
    return {pair: counts[pair] / images[pair[:2]] for pair in (*counts, *own)}


def image_shares(results: Results, one: str, other: str) -> pd.DataFrame:
    """Return how often two candidates are right on each test image, over their common seeds.

    Args:
        results: the results of the study.
        one: the label of the first candidate.
        other: the label of the second.

    Returns:
        A row per image, by part, class and path, with the share of the common seeds in which the
        candidate `one` is right, that of the `other`, and the `gain`, the first less the second;
        then the number of `seeds`, and of those in which one alone is right and the other alone
        (`only_one`, `only_other`). No rows without a common seed that kept predictions.

    Raises:
        DataError: their predictions are not of the same images.
        LedgerError: a file of predictions is damaged.
    """
    first, second = (
        pd.DataFrame(
            {
                trial.seed: {(p.part, p.label, p.path): p.label == p.predicted for p in predictions}
                for trial in results.confirmed(label)
                if (predictions := read_predictions(results.folder, trial.trial_id))
            }
        )
        for label in (one, other)
    )
    seeds = first.columns.intersection(second.columns)
    if pd.concat([first[seeds], second[seeds]], axis=1).isna().any(axis=None):
        raise DataError(f"the predictions of '{one}' and '{other}' are not of the same test images")
    one_right, other_right = first[seeds].astype(bool), second[seeds].astype(bool)
    shares = pd.DataFrame({"one": one_right.mean(axis=1), "other": other_right.mean(axis=1)})
    counted = shares.assign(
        gain=shares["one"] - shares["other"],
        seeds=len(seeds),
        only_one=(one_right & ~other_right).sum(axis=1),
        only_other=(other_right & ~one_right).sum(axis=1),
    )
    found = counted.dropna().sort_index()  # without a seed, there is no mean
    index = pd.MultiIndex.from_tuples(found.index, names=["part", "class", "path"])
    return found.set_index(index)


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
            *scope_of(board),
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
        f"Counted are answers: each of {count(images)} test images with each of {of}, "
        f"{count(answers)} in all. “Only … right” is the number of answers that one gives rightly "
        "and the other does not. Δ is their difference in percent of the answers of the row, which "
        "are its images times the seeds."
    )


def _scores(
    board: Leaderboard, shares: pd.DataFrame, one: Entry, other: Entry, *, named: str
) -> Iterator[str]:
    """Yield how the scores of two candidates differ, with intervals and what they are over."""
    sentences = []
    for part, of_part in shares.groupby(level="part"):
        paired = board.difference(one, other, str(part))
        if paired is not None:
            sentences.append(f"{part} {_spelt_over(paired)}, {count(len(of_part))} images")
    paired = board.difference(one, other)
    if board.parts and paired is not None:
        sentences.append(f"{board.metric} {_spelt_over(paired)}")
    if sentences:
        yield f"Test scores, {named}: {'; '.join(sentences)}."
    if board.protocol.class_averaged:
        yield "These scores weigh each class alike, and the rows for all classes each image."


def _spelt_over(paired: PairedDifference) -> str:
    return f"{spelt(paired.difference)} over {amount(len(paired.seeds), 'seed')}"


def _tested(board: Leaderboard, label: str) -> Entry:
    if (entry := board.entry(label)) is None:
        tested = ", ".join(" = ".join(entry.labels) for entry in board.entries) or "none"
        raise DataError(f"no candidate '{label}' was tested; tested are: {tested}")
    return entry
