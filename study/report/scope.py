"""What the intervals of a study hold for, and what they leave out, in sentences."""

from study.report.names import entry_name
from study.report.sentences import sentences
from study.results.resampling import Resampled
from study.results.statistics import MOST_OVERLAP, Intervals
from study.results.study_result import StudyResult


def interval_scope(resampled: Resampled, scores: Intervals) -> list[str]:
    """Return sentences on what the intervals of some scores hold for.

    Args:
        resampled: the study's tested trials on test images that were drawn again.
        scores: the mean score of each tested configuration, by its name.
    """
    return sentences(
        "report/interval_scope", resampled=resampled, scores=scores, most_overlap=MOST_OVERLAP
    )


def leaderboard_scope(board: StudyResult) -> list[str]:
    """Return sentences on what the intervals of a leaderboard hold for."""
    scores = {entry_name(entry): entry.test for entry in board.rows}
    return interval_scope(board.resampled, scores)
