"""A leaderboard as tables and text: for the terminal, as Markdown and as CSV."""

from dataclasses import replace

from rich.console import Group
from rich.text import Text

from study.config.labels import BASELINE, OPEN, PUBLISHED, TUNED
from study.config.trial_settings import HEADS, Head, settings_columns
from study.report.formatting import (
    Table,
    difference_cell,
    duration,
    format_count,
    interval_columns,
    markdown_text,
    p_columns,
    percent,
    score_cell,
    score_cells,
    score_header,
    with_notes,
)
from study.report.further_scores import further_header, further_note
from study.report.groups import group_name
from study.report.names import starred_name
from study.report.scope import leaderboard_scope
from study.report.sentences import sentences
from study.report.setting_descriptions import (
    SETTING_NOTE,
    setting_cells,
    setting_header,
    tuned_in_words,
)
from study.report.verdict import validation_findings, verdict
from study.results.rows import REFERENCES, Row
from study.results.statistics import MeanInterval
from study.results.study_result import TRIAL_STATES, StudyResult
from study.results.trial_results import PARTS, SOURCE
from study.storage.atomic import write_atomically

_GROUP_NOTES = {
    BASELINE: "baselines, tried first",
    OPEN: "which parameters to tune, and how fast",
    TUNED: "learning rates and λ for CLIPFit’s own parameters",
}
"""What the parts of a search do; all others are those of peers."""


def main_table(board: StudyResult) -> Table:
    """Return the test scores in percent, and the differences to both baselines in points."""
    title = f"{board.folder.name}: test {board.metric}"
    score = "test"
    if board.parts:
        title += f" of {' and '.join(board.parts)} accuracy"
        score = board.metric
    header = ["candidate", *score_header(board.parts, score)]
    header += [f"{head} head" for head in _scored_heads(board)]
    header += further_header(board)
    header.append("seeds")
    break_at = len(header)
    header += ["Δ tuned CLIPFit", "Δ published"]
    return Table(
        f"{title}, %",
        header,
        [_main_row(board, entry) for entry in board.rows],
        marked=_winner_row(board),
        note=footnote(board),
        break_at=break_at,
    )


def _main_row(board: StudyResult, entry: Row) -> list[object]:
    row: list[object] = [starred_name(entry) + _finished_trials(board, entry)]
    row += score_cells(board.parts, entry.parts, entry.test)
    for head in _scored_heads(board):
        of_head = entry.head_scores.get(head)
        row.append(percent(of_head.mean if of_head else None))
    row += [score_cell(entry.further_scores.get(name)) for name in board.score_names.further]
    seeds = len(entry.scores)
    if seeds < entry.test_trial_count:
        row.append(f"{seeds}/{entry.test_trial_count}")
    else:
        row.append(seeds)
    references = map(board.find_row, REFERENCES)
    row += [difference_cell(board.difference(entry, reference)) for reference in references]
    return row


def configuration_table(board: StudyResult) -> Table:
    """Return the candidates' labels, configurations and validation scores."""
    rows = []
    for entry in board.rows:
        row = [" = ".join(entry.labels), starred_name(entry), tuned_in_words(entry.settings)]
        row += [*setting_cells(entry.settings), format_count(entry.trainable)]
        row.append(percent(entry.val_score))
        rows.append(row)
    return Table(
        "Configurations",
        ["label", "candidate", "tunes", *setting_header(), "trainable", "val %"],
        rows,
        left=3,
        marked=_winner_row(board),
        note=SETTING_NOTE,
        break_at=5,
    )


def target_table(board: StudyResult) -> Table:
    """Return accuracies in percent: datasets by candidates."""
    names = [starred_name(entry) for entry in board.rows]
    rows = []
    for target in board.score_names.datasets:
        name = target
        if target == SOURCE:
            name = f"{board.config.data.dataset} (source)"
        cells = [score_cell(entry.dataset_scores.get(target)) for entry in board.rows]
        rows.append([name, *cells])
    return Table("Accuracy by dataset, %", ["dataset", *names], rows)


def budget_table(board: StudyResult) -> Table:
    """Return what each part of the search spent; the time is the sum over its trials."""
    rows = []
    notes = []
    for group in board.group_counts:
        name = group_name(group.group)
        notes.append(
            f"“{name}”: {_GROUP_NOTES.get(group.group, 'another method, with its own search')}."
        )
        states = [getattr(group, state) for state in TRIAL_STATES]
        spent = [format_count(group.epochs), duration(group.seconds)]
        rows.append([name, group.trials, *states, *spent])
    return Table(
        "What the search spent",
        ["part of the search", "trials", *TRIAL_STATES, "epochs", "time"],
        rows,
        note=(
            f"{' '.join(notes)} Stopped trials were ended early because others were ahead; the "
            "time adds up all trials."
        ),
    )


def failure_table(board: StudyResult) -> Table:
    """Return the last ten failed trials, with their causes."""
    rows = [[trial.trial_id, trial.epochs, trial.reason or ""] for trial in board.failed[-10:]]
    earlier = len(board.failed) - len(rows)
    if earlier:
        rows.append([f"and {earlier} before", "", "see the report"])
    return Table("Failures", ["failed trial", "epochs", "cause"], rows, left=3)


def footnote(board: StudyResult) -> str:
    """Return the sentences below the main table: how to read it, and what it does not show."""
    return " ".join(
        sentences(
            "report/footnote",
            board=board,
            scope=leaderboard_scope(board),
            further_note=further_note,
        )
    )


def render_leaderboard(board: StudyResult) -> Group:
    """Return the leaderboard as tables for the terminal, with its findings."""
    main = main_table(board)
    tables = [
        replace(main, note=""),  # which is on all scores, and stands after the sentences
        target_table(board),
        configuration_table(board),
        budget_table(board),
        failure_table(board),
    ]
    blocks = with_notes(tables)
    blocks += map(Text, verdict(board) + validation_findings(board))
    if board.rows:
        blocks.append(Text(main.note, style="dim"))
    return Group(*blocks)


def leaderboard_markdown(board: StudyResult) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    blocks = [f"# {markdown_text(board.folder.name)}"]
    blocks += map(markdown_text, verdict(board))
    untitled = replace(main_table(board), title="")
    scores = [untitled, target_table(board), configuration_table(board)]
    blocks += [table.markdown() for table in scores if table.rows]
    if board.rows:
        blocks.append("## How far to trust validation")
        blocks.append(markdown_text(" ".join(validation_findings(board))))
    trials = [budget_table(board), failure_table(board)]
    blocks += [table.markdown() for table in trials if table.rows]
    return "\n\n".join(blocks) + "\n"


def leaderboard_csv(board: StudyResult) -> str:
    """Return the leaderboard as CSV: fractions in full precision, one row per candidate."""
    header = list(_candidate_record(board, None))
    rows = [list(_candidate_record(board, entry).values()) for entry in board.rows]
    return Table("", header, rows).csv()


def leaderboard_records(board: StudyResult) -> list[dict[str, object]]:
    """Return the leaderboard as records: one per candidate, with the columns of its CSV."""
    return [_candidate_record(board, entry) for entry in board.rows]


def write_leaderboard(board: StudyResult) -> None:
    """Write `leaderboard.csv` and `leaderboard.md` into the study's folder."""
    write_atomically(board.folder.path / "leaderboard.csv", leaderboard_csv(board))
    write_atomically(board.folder.path / "leaderboard.md", leaderboard_markdown(board))


def _scored_heads(board: StudyResult) -> list[Head]:
    """Return the heads that any test was scored with, if there are several."""
    scored: set[Head] = set()
    for entry in board.rows:
        scored.update(entry.head_scores)
    return [head for head in HEADS if head in scored] if len(scored) > 1 else []


def _finished_trials(board: StudyResult, entry: Row) -> str:
    """Return how many trials of tuned CLIPFit's own search finished; empty for other candidates."""
    for budget in board.group_counts:
        if budget.group == TUNED and TUNED in entry.labels:
            return f" ({budget.finished} of its {budget.trials} trials finished)"
    return ""


def _winner_row(board: StudyResult) -> int | None:
    for index, entry in enumerate(board.rows):
        if entry.is_best:
            return index
    return None


def _candidate_record(board: StudyResult, entry: Row | None) -> dict[str, object]:
    """Return the columns of a candidate for CSV and JSON; None yields the header."""
    is_winner = getattr(entry, "is_best", None)
    record = {"label": getattr(entry, "label", None), "winner": is_winner}
    record |= entry.settings.column_values() if entry else dict.fromkeys(settings_columns())
    for name in ("trainable", "source_trial", "val_score"):
        record[name] = getattr(entry, name, None)
    for head in HEADS:
        of_head = entry.head_scores.get(head) if entry else None
        record[f"test_{head}_head"] = of_head.mean if of_head else None
    record["seeds"] = len(getattr(entry, "scores", ()))
    record["chance"] = board.chance
    means: dict[str, MeanInterval | None] = {"test": getattr(entry, "test", None)}
    columns = {
        "parts": (*PARTS, *board.parts),
        "further_scores": board.score_names.further,
        "dataset_scores": board.score_names.datasets,
    }
    for field, names in columns.items():
        scores = getattr(entry, field, {})
        means |= {name: scores.get(name) for name in names}
    for name, label in (
        ("tuned", TUNED),
        ("published", PUBLISHED),
        ("peer", board.best_other_method),
    ):
        rival = board.find_row(label or "")
        means[f"versus_{name}"] = board.difference(entry, rival) if entry else None
    record |= interval_columns(means)
    comparisons = board.comparisons if is_winner else {}
    for name, label in (("tuned", TUNED), ("peer", board.best_other_method)):
        record |= p_columns(comparisons.get(label or ""), f"versus_{name}_")
    record["peer"] = board.best_other_method
    return record
