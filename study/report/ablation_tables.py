"""An ablation's cells against its base: table, verdict, and their files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Group
from rich.text import Text

from study.report.ablation_charts import ablation_plots
from study.report.charts import write_plots
from study.report.formatting import (
    Table,
    comparison_cells,
    format_count,
    format_mean,
    interval_columns,
    markdown_text,
    p_columns,
    score_cells,
    score_header,
    with_notes,
)
from study.report.scope import interval_scope
from study.report.sentences import sentences
from study.report.setting_descriptions import SETTING_NOTE, setting_cells, setting_header
from study.results.ablation import BASE, UNSTABLE, Ablation, Cell
from study.results.trial_results import PARTS
from study.storage.atomic import write_atomically


def ablation_verdict(table: Ablation) -> list[str]:
    """Return sentences that name the cells beyond noise, within noise and at an edge of rates.

    They also name the cells without a score, and those whose seeds differ much.
    """
    said = _describe_unscored(table)
    said += sentences("report/ablation_verdict", table=table)
    said += _describe_unstable(table)
    return said + sentences("report/ablation_scope", table=table)


def _describe_unscored(table: Ablation) -> list[str]:
    """Return a sentence that names the cells without a score, and one if the base is among them."""
    if not table.unscored:
        return []
    names = ", ".join(f"“{label}”" for label in table.unscored)
    said = [f"No score, since no trial ran to its end: {names}."]
    if table.base is None:
        said.append(f"So no cell is compared with “{BASE}”.")
    return said


def _describe_unstable(table: Ablation) -> list[str]:
    """Return a sentence that names the cells whose score depends much on the seed."""
    if not table.unstable:
        return []
    names = ", ".join(f"“{cell.label}”" for cell in table.unstable)
    return [
        f"Unstable, since the score spreads over the seeds more than {UNSTABLE} times as much as "
        f"that of the median cell: {names}."
    ]


def cell_table(table: Ablation) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    score = table.metric if table.parts else table.split
    header = ["cell", *score_header(table.parts, score)]
    if table.shows_balanced:
        header.append("balanced %")
    header += ["Δ base cell", "p", "seeds", "trainable", "s"]
    note = (
        "± and [ ] are 95 % intervals. Δ are paired differences in percentage points over "
        "common seeds; any p is corrected for the number of tests (Holm); s is seconds. "
    )
    scores = {cell.label: cell.score for cell in table.cells}
    return Table(
        f"Ablation: {table.split} {table.metric}, %",
        header,
        [_cell_row(table, cell) for cell in table.cells],
        note=note + " ".join(interval_scope(table.resampled, scores)),
    )


def _cell_row(table: Ablation, cell: Cell) -> list[object]:
    row: list[object] = [cell.label, *score_cells(table.parts, cell.parts, cell.score)]
    if table.shows_balanced:
        row.append(format_mean(cell.balanced))
    row += comparison_cells(cell.comparison)
    seconds = None if cell.seconds is None else f"{cell.seconds:.0f}"
    row += [len(cell.scores), format_count(cell.trainable), seconds]
    return row


def setting_table(table: Ablation) -> Table:
    """Return each cell's subset, learning rates and λ."""
    rows = [
        [cell.label, cell.settings.subset, *setting_cells(cell.settings)] for cell in table.cells
    ]
    return Table("Cells", ["cell", "subset", *setting_header()], rows, left=2, note=SETTING_NOTE)


def _all_tables(table: Ablation) -> list[Table]:
    """Return the table of cells, and that of their settings."""
    return [cell_table(table), setting_table(table)]


def render_ablation(table: Ablation) -> Group:
    """Return the ablation as tables for the terminal, with its verdict."""
    return Group(*with_notes(_all_tables(table)), *map(Text, ablation_verdict(table)))


def ablation_markdown(table: Ablation) -> str:
    """Return the ablation as Markdown: verdict, scores, settings."""
    blocks = [markdown_text(" ".join(ablation_verdict(table)))]
    blocks += [replace(block, title="").markdown() for block in _all_tables(table)]
    return "\n\n".join(blocks) + "\n"


def ablation_csv(table: Ablation) -> str:
    """Return the ablation as CSV: fractions in full precision, one row per cell."""
    return Table.from_records(ablation_records(table)).csv()


def ablation_records(table: Ablation) -> list[dict[str, object]]:
    """Return the ablation as records: one per cell, with the columns of its CSV."""
    records: list[dict[str, object]] = []
    for cell in table.cells:
        means = {"score": cell.score, "balanced": cell.balanced}
        for part in PARTS + table.parts:
            means[part] = cell.parts.get(part)
        comparison = cell.comparison
        means["difference"] = comparison
        records.append(
            {
                "label": cell.label,
                "split": table.split,
                **cell.settings.column_values(),
                "trainable": cell.trainable,
                "seeds": len(cell.scores),
                "chance": table.chance,
                "seconds": cell.seconds,
                **interval_columns(means),
                **p_columns(comparison),
                "edges": _join_kinds(cell.rate_edges),
                "unstable": cell in table.unstable,
            }
        )
    return records


def _join_kinds(texts: Mapping[str, str]) -> str | None:
    """Return the text of each kind of parameter as one text; None if there is none."""
    return "; ".join(f"{kind}: {text}" for kind, text in texts.items()) or None


def write_ablation(folder: Path, table: Ablation) -> list[Path]:
    """Write `ablation.csv`, `ablation.md` and the plots into the study's folder.

    Returns:
        The paths of the written files.
    """
    files = {
        folder / "ablation.csv": ablation_csv(table),
        folder / "ablation.md": ablation_markdown(table),
    }
    for path, text in files.items():
        write_atomically(path, text)
    return list(files) + write_plots(folder, ablation_plots(table))
