"""The leaderboard of a study as terminal tables, Markdown and CSV."""

import csv
import io
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from study.analysis.comparison import Comparison, Entry, Leaderboard
from study.analysis.formatting import (
    count,
    difference,
    duration,
    estimate_columns,
    interval,
    percent,
    probability,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
    validation_findings,
    verdict,
)
from study.analysis.results import PARTS
from study.analysis.tables import markdown_table, markdown_text, rich_table
from study.config.settings import settings_columns
from study.storage.atomic import write_atomically

FAILURES_SHOWN = 10
"""The most failed trials that a table lists."""


def score_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of the test scores, in percent."""
    scores = score_header(board.parts, board.metric if board.parts else "test")
    return ["candidate", *scores, "seeds"], [_score_cells(board, entry) for entry in board.entries]


def difference_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of the differences to both baselines, in percentage points."""
    cells = [
        [
            _name(entry),
            *_comparison_cells(entry.versus_tuned),
            *_comparison_cells(entry.versus_published),
        ]
        for entry in board.entries
    ]
    return ["candidate", "Δ tuned CLIPFit", "p", "Δ published", "p"], cells


def main_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of scores and differences side by side."""
    (header, scores), (more, differences) = score_table(board), difference_table(board)
    return header + more[1:], [
        left + right[1:] for left, right in zip(scores, differences, strict=True)
    ]


def configuration_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of the candidates' configurations and validation scores."""
    header = ["candidate", "subset", *setting_header(), "trainable", "val %"]
    cells = [
        [
            _name(entry),
            entry.settings.subset or "–",
            *setting_cells(entry.settings, entry.trainable),
            count(entry.trainable),
            percent(entry.val_score),
        ]
        for entry in board.entries
    ]
    return header, cells


def target_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of accuracies in percent: datasets by candidates."""
    header = ["dataset", *(_name(entry) for entry in board.entries)]
    return header, [
        [target, *(interval(entry.targets.get(target)) for entry in board.entries)]
        for target in board.targets
    ]


def budget_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of what each arm spent; “busy” adds up its trials' durations."""
    header = ["search arm", "trials", "finished", "stopped", "failed", "running", "epochs", "busy"]
    cells = [
        [
            arm.arm,
            *(str(n) for n in (arm.trials, arm.finished, arm.stopped, arm.failed, arm.running)),
            count(arm.epochs),
            duration(arm.seconds),
        ]
        for arm in board.arms
    ]
    return header, cells


def failure_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of the last failed trials, with their causes."""
    cells = [[f.trial_id, str(f.epochs), f.reason or ""] for f in board.failures[-FAILURES_SHOWN:]]
    if (more := len(board.failures) - len(cells)) > 0:
        cells.append([f"and {more} before", "", "see the report"])
    return ["failed trial", "epochs", "cause"], cells


def footnote(board: Leaderboard) -> str:
    """Return the note on what the numbers mean and what their intervals leave out."""
    mark = "The choice was made" if board.winner is None else "★ chosen"
    chosen = f"{mark} by validation, before test was read."
    if board.chosen_before:
        trials = " and ".join(map(str, board.chosen_before))
        chosen = (
            f"{mark} by validation alone, in a search that was extended after its choice from "
            f"{trials} trials had been tested; what was chosen then and is not now has its number "
            "of trials in its name."
        )
    text = (
        f"{chosen} ± and [ ] are 95 % t intervals over seeds, "
        "each with its own training shots; they do not cover the choice of test images. Δ are "
        "paired differences in percentage points over common seeds; p is Holm-corrected over the "
        "comparisons of its column."
    )
    if board.untested:
        text += f" Without a test score yet: {', '.join(board.untested)}."
    return text


def render(board: Leaderboard) -> Group:
    """Return the leaderboard as rich tables that fit 100 columns, with its findings."""
    metric = board.metric
    if board.parts:
        metric += f" of {' and '.join(board.parts)} accuracy"
    parts: list[Table | Text] = []
    if board.entries:
        title = f"{board.study}: test {metric}"
        if board.parts:
            # One table with all columns would be wider than 100 columns.
            parts.append(rich_table(title, *score_table(board), left=1))
            parts.append(
                rich_table(f"Differences of {board.metric}", *difference_table(board), left=1)
            )
        else:
            parts.append(rich_table(title, *main_table(board), left=1))
        if board.targets:
            parts.append(rich_table("Accuracy by dataset", *target_table(board), left=1))
        parts.append(rich_table("Configurations", *configuration_table(board), left=2))
    if board.arms:
        parts.append(rich_table("Search budgets", *budget_table(board), left=1))
    if board.failures:
        parts.append(rich_table("Failures", *failure_table(board), left=3))
    parts += [Text(sentence) for sentence in verdict(board) + validation_findings(board)]
    if board.entries:
        parts.append(Text(footnote(board), style="dim"))
    return Group(*parts)


def to_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as Markdown: verdict, tables, notes."""
    blocks = [
        f"# {markdown_text(board.study)}",
        " ".join(markdown_text(sentence) for sentence in verdict(board)),
    ]
    if board.entries:
        blocks += [markdown_table(*main_table(board)), markdown_text(footnote(board))]
        if board.targets:
            blocks += ["## Accuracy by dataset", markdown_table(*target_table(board))]
        blocks += ["## Configurations", markdown_table(*configuration_table(board))]
        blocks += ["## How far to trust validation"]
        blocks += [" ".join(markdown_text(sentence) for sentence in validation_findings(board))]
    if board.arms:
        blocks += ["## Search budgets", markdown_table(*budget_table(board))]
    if board.failures:
        blocks += ["## Failures", markdown_table(*failure_table(board))]
    return "\n\n".join(blocks) + "\n"


def to_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV: fractions in full precision, one row per candidate."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_csv_row(None, board), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(entry, board) for entry in board.entries)
    return text.getvalue()


def write_leaderboard(folder: Path, board: Leaderboard) -> tuple[Path, Path]:
    """Write `leaderboard.csv` and `leaderboard.md` into the study's folder; return their paths."""
    table, text = folder / "leaderboard.csv", folder / "leaderboard.md"
    write_atomically(table, to_csv(board))
    write_atomically(text, to_markdown(board))
    return table, text


def _name(entry: Entry) -> str:
    return f"{entry.name} ★" if entry.winner else entry.name


def _score_cells(board: Leaderboard, entry: Entry) -> list[str]:
    done = len(entry.scores)
    return [
        _name(entry),
        *score_cells(board.parts, entry.parts, entry.test),
        str(done) if done == entry.seeds_planned else f"{done}/{entry.seeds_planned}",
    ]


def _comparison_cells(comparison: Comparison | None) -> tuple[str, str]:
    if comparison is None:
        return "–", "–"
    return difference(comparison.paired), probability(comparison.holm_p)


def _csv_row(entry: Entry | None, board: Leaderboard) -> dict[str, object]:
    """Return the row of a candidate; None gives the same columns without values."""
    settings = dict.fromkeys(settings_columns()) if entry is None else entry.settings.flat()
    named = ("trainable", "source_trial", "val_score", "val_base")
    parts, targets = ({}, {}) if entry is None else (entry.parts, entry.targets)
    row: dict[str, object] = {name: getattr(entry, name, None) for name in ("label", "winner")}
    row |= settings | {name: getattr(entry, name, None) for name in named}
    row |= {"seeds": None if entry is None else len(entry.scores), "chance": board.chance}
    row |= estimate_columns(
        {
            "test": None if entry is None else entry.test,
            **{part: parts.get(part) for part in (*PARTS, *board.parts)},
            **{target: targets.get(target) for target in board.targets},
        }
    )
    for name in ("versus_tuned", "versus_published"):
        comparison: Comparison | None = getattr(entry, name, None)
        paired = None if comparison is None else comparison.paired
        row |= estimate_columns({name: None if paired is None else paired.difference})
        row[f"{name}_p"] = None if paired is None else paired.p
        row[f"{name}_holm_p"] = None if comparison is None else comparison.holm_p
    return row
