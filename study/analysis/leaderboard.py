"""The leaderboard of a study as terminal tables, Markdown and CSV."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from study.analysis.comparison import Entry, Leaderboard
from study.analysis.formatting import (
    comparison_cells,
    comparison_columns,
    count,
    duration,
    estimate_columns,
    interval,
    percent,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
    validation_findings,
    verdict,
)
from study.analysis.results import PARTS
from study.analysis.tables import Table, markdown_text
from study.config.settings import settings_columns
from study.storage.atomic import write_atomically

FAILURES_SHOWN = 10
"""The most failed trials that a table lists."""


def main_table(board: Leaderboard) -> Table:
    """Return the test scores in percent, and the differences to both baselines in points."""
    what = (
        f"{board.metric} of {' and '.join(board.parts)} accuracy" if board.parts else board.metric
    )
    scores = score_header(board.parts, board.metric if board.parts else "test")
    return Table(
        f"{board.study}: test {what}",
        ["candidate", *scores, "seeds", "Δ tuned CLIPFit", "p", "Δ published", "p"],
        [
            [
                _name(entry),
                *score_cells(board.parts, entry.parts, entry.test),
                _seeds(entry),
                *(cell for found in entry.versus.values() for cell in comparison_cells(found)),
            ]
            for entry in board.entries
        ],
        marked=_winner_row(board),
        note=footnote(board),
    )


def configuration_table(board: Leaderboard) -> Table:
    """Return the candidates' configurations and validation scores."""
    return Table(
        "Configurations",
        ["candidate", "subset", *setting_header(), "trainable", "val %"],
        [
            [
                _name(entry),
                entry.settings.subset,
                *setting_cells(entry.settings, entry.trainable),
                count(entry.trainable),
                percent(entry.val_score),
            ]
            for entry in board.entries
        ],
        left=2,
        marked=_winner_row(board),
    )


def target_table(board: Leaderboard) -> Table:
    """Return accuracies in percent: datasets by candidates."""
    return Table(
        "Accuracy by dataset",
        ["dataset", *(_name(entry) for entry in board.entries)],
        [
            [target, *(interval(entry.targets.get(target)) for entry in board.entries)]
            for target in board.targets
        ],
    )


def budget_table(board: Leaderboard) -> Table:
    """Return what each arm spent; “busy” adds up its trials' durations."""
    states = ("trials", "finished", "stopped", "failed", "running")
    rows = [
        [arm.arm, *(getattr(arm, n) for n in states), count(arm.epochs), duration(arm.seconds)]
        for arm in board.arms
    ]
    return Table("Search budgets", ["search arm", *states, "epochs", "busy"], rows)


def failure_table(board: Leaderboard) -> Table:
    """Return the last failed trials, with their causes."""
    shown = board.failures[-FAILURES_SHOWN:]
    rows = [[failure.trial_id, failure.epochs, failure.reason or ""] for failure in shown]
    if more := len(board.failures) - len(shown):
        rows.append([f"and {more} before", "", "see the report"])
    return Table("Failures", ["failed trial", "epochs", "cause"], rows, left=3)


def footnote(board: Leaderboard) -> str:
    """Return the note on what the numbers mean and what their intervals leave out."""
    mark = "The choice was made" if board.winner is None else "★ chosen"
    before = " and ".join(map(str, board.chosen_before))
    chosen = (
        f"by validation alone, in a search that was extended after its choice from {before} trials "
        "had been tested; what was chosen then and is not now has its number of trials in its name."
        if before
        else "by validation, before test was read."
    )
    untested = f" Without a test score yet: {', '.join(board.untested)}." if board.untested else ""
    return (
        f"{mark} {chosen} ± and [ ] are 95 % t intervals over seeds, "
        "each with its own training shots; they do not cover the choice of test images. Δ are "
        "paired differences in percentage points over common seeds; p is Holm-corrected over the "
        f"comparisons of its column.{untested}"
    )


def render(board: Leaderboard) -> Group:
    """Return the leaderboard as rich tables that fit 100 columns, with its findings."""
    main = main_table(board)
    # One table with all columns would be wider than 100 columns.
    scores = main.split(3 + len(board.parts), f"Differences of {board.metric}")
    tables = (
        *(scores if board.parts else (main,)),
        target_table(board),
        configuration_table(board),
        budget_table(board),
        failure_table(board),
    )
    return Group(
        *(table for table in tables if table.rows),
        *(Text(sentence) for sentence in verdict(board) + validation_findings(board)),
        *([Text(main.note, style="dim")] if board.entries else ()),
    )


def to_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    found = markdown_text(" ".join(validation_findings(board)))
    tables = (
        replace(main_table(board), title=""),
        target_table(board),
        configuration_table(board),
        f"## How far to trust validation\n\n{found}" if board.entries else "",
        budget_table(board),
        failure_table(board),
    )
    blocks = (
        f"# {markdown_text(board.study)}",
        markdown_text(" ".join(verdict(board))),
        *(t if isinstance(t, str) else t.markdown() if t.rows else "" for t in tables),
    )
    return "\n\n".join(filter(None, blocks)) + "\n"


def to_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV: fractions in full precision, one row per candidate."""
    return Table(
        "",
        list(_record(board, None)),
        [list(_record(board, entry).values()) for entry in board.entries],
    ).csv()


def write_leaderboard(folder: Path, board: Leaderboard) -> tuple[Path, Path]:
    """Write `leaderboard.csv` and `leaderboard.md` into the study's folder; return their paths."""
    table, text = folder / "leaderboard.csv", folder / "leaderboard.md"
    write_atomically(table, to_csv(board))
    write_atomically(text, to_markdown(board))
    return table, text


def _name(entry: Entry) -> str:
    return f"{entry.name} ★" if entry.winner else entry.name


def _seeds(entry: Entry) -> str:
    done, planned = len(entry.scores), entry.seeds_planned
    return str(done) if done == planned else f"{done}/{planned}"


def _winner_row(board: Leaderboard) -> int | None:
    return next((index for index, entry in enumerate(board.entries) if entry.winner), None)


def _record(board: Leaderboard, entry: Entry | None) -> dict[str, object]:
    """Return the row of a candidate; None gives the same columns without values."""

    def of(name: str, default: Any = None) -> Any:
        return getattr(entry, name, default)

    parts, targets = of("parts", {}), of("targets", {})
    estimates = {
        "test": of("test"),
        **{part: parts.get(part) for part in (*PARTS, *board.parts)},
        **{target: targets.get(target) for target in board.targets},
    }
    return {
        "label": of("label"),
        "winner": of("winner"),
        **(entry.settings.flat() if entry else dict.fromkeys(settings_columns())),
        **{name: of(name) for name in ("trainable", "source_trial", "val_score", "val_base")},
        "seeds": len(of("scores", ())),
        "chance": board.chance,
        **estimate_columns(estimates),
        **comparison_columns("versus_tuned", of("versus_tuned"), "versus_tuned_"),
        **comparison_columns("versus_published", of("versus_published"), "versus_published_"),
    }
