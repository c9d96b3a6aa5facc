"""What a study leaves at its end: tables, charts, the report and the last printed lines."""

from collections.abc import Sequence

from rich.console import Console

from study.report.charts import write_charts
from study.report.class_tables import LABELS, labels_csv
from study.report.leaderboard_tables import describe_study, write_leaderboard
from study.report.page import write_report
from study.report.pictures import Datasets
from study.report.study_charts import make_charts
from study.report.summary import findings, next_steps
from study.report.tables import plain_table
from study.report.terminal import print_unwrapped
from study.results.study_result import StudyResult
from study.results.trial_results import write_trials
from study.storage.atomic import write_atomically
from study.storage.study_folder import DESCRIPTION


def write_results(board: StudyResult, datasets: Datasets | None = None) -> None:
    """Write everything that is made from a study's results, from the table to the summary.

    Args:
        board: the result of the study.
        datasets: the datasets that were read already, whose test images the report may show.

    Raises:
        StorageError: the folder cannot be read or written.
    """
    folder = board.folder
    write_trials(folder, board.trial_results)  # it waits for storage that is away
    write_leaderboard(board)
    check = board.label_check
    if check is not None:
        write_atomically(folder.path / LABELS, labels_csv(check.likely_mislabelled))
    charts = make_charts(board)
    write_report(board, charts, datasets)  # it needs one format alone of each chart
    write_charts(folder.path, charts)
    write_atomically(folder.path / DESCRIPTION, describe_study(board))


def print_results(board: StudyResult, hints: Sequence[tuple[str, str]], console: Console) -> None:
    """Print what was found, and what to look at and to type next; `next_steps` has the hints."""
    rows = [(f"{word:8}", text) for word, text in findings(board)]
    console.print(plain_table(("", ""), rows))
    for word, hint in next_steps(board, hints):
        print_unwrapped(console, f" {word:9} {hint}")
