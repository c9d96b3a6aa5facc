"""The description of a study on its parent run in MLflow: a few sentences and the tables."""

from study.report.ablation_tables import ablation_markdown
from study.report.leaderboard_tables import markdown_tables
from study.report.tables import markdown_text
from study.report.verdict import registration_sentence, verdict
from study.results.study_result import StudyResult


def describe_study(board: StudyResult) -> str:
    """Return the description of a finished study in Markdown."""
    if board.ablation:
        return _widen_columns(ablation_markdown(board.ablation))
    # MLflow hides all but the first five lines at first, and its page already has the study's name.
    score, *rest = map(markdown_text, verdict(board))
    blocks = [f"**{score}**"]
    if board.registration:
        blocks.append(f"`{board.registration.loading_line}`")
        blocks.append(markdown_text(registration_sentence(board)))
    blocks += [*rest, *markdown_tables(board)]
    blocks.append("`report.html` among this run’s artifacts has the whole report.")
    return _widen_columns("\n\n".join(blocks))


def _widen_columns(markdown: str) -> str:
    """Widen table columns: on MLflow’s page “± 1.3” and “5” would look like one number."""
    lines = markdown.split("\n")
    return "\n".join(
        line if line.startswith("| ---") else line.replace(" | ", "&emsp; | ") for line in lines
    )
