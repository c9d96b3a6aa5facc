"""What a study found, in sentences that claim no more than the intervals allow."""

from study.report.formatting import percent
from study.report.sentences import sentences
from study.results.study_result import StudyResult
from study.results.validation_check import CLOSE_TO_BEST


def verdict(board: StudyResult) -> list[str]:
    """Return what a study found: the choice, its two fixed comparisons, and what qualifies it."""
    return sentences("report/verdict", board=board)


def headline(board: StudyResult) -> tuple[str, str] | None:
    """Return the test score of the choice, and the rest of the sentence that begins with it.

    The rest has the interval of the score, chance, and zero-shot's score.

    Returns:
        None if nothing was searched or chosen, or the choice has no test score.
    """
    choice = board.best_by_validation
    if not choice or not board.has_search:
        return None
    (sentence,) = sentences("report/headline", board=board)
    return f"{percent(choice.test.mean)} %", sentence


def validation_findings(board: StudyResult) -> list[str]:
    """Return sentences on how well validation ranked, and what base classes alone would pick."""
    search_seeds = {trial.seed for trial in board.stage("search")}
    tested_seeds = {trial.seed for trial in board.stage("test") if trial.test_score is not None}
    shared_seeds = []
    if len(tested_seeds) > 1:  # otherwise the test has no other seeds
        shared_seeds = sorted(search_seeds & tested_seeds)
    return sentences(
        "report/validation_findings",
        board=board,
        close_to_best=CLOSE_TO_BEST,
        shared_seeds=shared_seeds,
    )
