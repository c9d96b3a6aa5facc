"""The description of a study on its parent run in MLflow: a few sentences and the tables."""

from study.report.ablation_tables import ablation_markdown
from study.report.formatting import (
    markdown_text,
)
from study.report.leaderboard_tables import leaderboard_markdown
from study.report.names import candidate_name
from study.report.sentences import sentences
from study.results.study_result import StudyResult


def describe_study(board: StudyResult) -> str:
    """Return the description of a finished study in Markdown."""
    if board.ablation:
        return _widen_columns(ablation_markdown(board.ablation))
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    blocks = []
    registration = board.registration
    if board.best_by_validation:
        names = {trial.trial_id: trial.label for trial in board.trial_results}
        label = names.get(
            board.best_by_validation.source_trial or "", board.best_by_validation.label
        )
        name = markdown_text(candidate_name(label))
        blocks.append(" ".join(sentences("report/outcome", board=board, name=name)))
    if registration:
        blocks.append(f"`{registration.loading_line(lasting=True)}`")
    if board.best:
        settings = sentences("report/winner_settings", board=board, winner=board.best)
        blocks += map(markdown_text, settings)
    if registration:
        blocks += map(markdown_text, sentences("report/registered", board=board))
    _, tables = leaderboard_markdown(board).split("\n\n", 1)
    blocks.append(_widen_columns(tables))
    blocks.append("`report.html` among this run's artifacts tells the whole.")
    return "\n\n".join(blocks)


def _widen_columns(markdown: str) -> str:
    """Widen table columns: on MLflow's page “± 1.3” and “5” would look like one number."""
    lines = []
    for line in markdown.split("\n"):
        if not line.startswith("| ---"):
            line = line.replace(" | ", "&emsp; | ")
        lines.append(line)
    return "\n".join(lines)
