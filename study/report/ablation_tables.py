"""An ablation's cells against its base: table, charts, verdict, and their files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from study.report.charts import GREY, ORANGE, Chart, in_percent, name_axis
from study.report.formatting import (
    format_count,
    format_difference,
    format_mean,
    interval_columns,
    p_columns,
    percent,
    probability,
)
from study.report.names import score_titles
from study.report.setting_descriptions import setting_cells, setting_header
from study.report.tables import Table, markdown_text, records_csv, with_notes
from study.report.verdict import ablation_notes, ablation_verdict, interval_scope
from study.results.ablation import Ablation
from study.results.chance import BALANCED
from study.results.trial_results import PARTS
from study.storage.atomic import write_atomically


def forest_chart(ablation: Ablation) -> Chart:
    """Draw the difference of each cell to the base, with its interval."""
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(ablation.cells) if cell.comparison]

    def paint(axes: Any) -> None:
        for name, color, differs in (("significant", ORANGE, True), ("not", GREY, False)):
            rows = {
                row: (cell.comparison.mean, cell.comparison.deciding)
                for row, cell in enumerate(cells)
                if cell.comparison and (cell.finding == "significant") == differs
            }
            if rows:
                means, errors = in_percent(rows.values())
                axes.errorbar(means, [*rows], xerr=errors, fmt="o", color=color, label=name)
        axes.axvline(0.0, linestyle=":", color=GREY)
        axes.set_xlabel("difference of the test score, percentage points")
        name_axis(axes, "y", [cell.label for cell in cells])

    return Chart(
        "ablation-forest",
        "Difference of each cell to “base”",
        "Paired differences over common seeds with 95 % intervals, which are not corrected for "
        "their number; grey cells do not differ significantly after Holm’s correction.",
        [paint] if cells else [],
        reason_if_empty="no cell can be compared with the base",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def cell_table(ablation: Ablation) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    scores = score_titles(ablation.names)
    header = ["cell", *scores.values(), "Δ base", "p", "seeds"]
    header += [*setting_header()[2:], "trainable", "s"]
    rows = []
    for cell in ablation.cells:
        row: list[object] = [cell.label]
        row += [format_mean(cell.means.get(name)) for name in scores]
        holm_p = cell.comparison.holm_p if cell.comparison else None
        row += [format_difference(cell.comparison), probability(holm_p)]
        row += [cell.score.n, *setting_cells(cell.settings)[2:], format_count(cell.trainable)]
        rows.append([*row, None if cell.seconds is None else f"{cell.seconds:.0f}"])
    notes = ["± and [ ] are 95 % intervals."]
    notes += interval_scope(ablation.resampled, [cell.score for cell in ablation.cells])
    notes.append(
        "Δ base are paired differences to the cell “base” in percentage points, p is corrected for "
        "their number (Holm), s is seconds."
    )
    if ablation.chance is not None:
        notes.append(f"Chance: {percent(ablation.chance)} % (balanced).")
    notes += ablation_notes(ablation)
    title = f"Ablation: test {ablation.names.metric}, %"
    return Table(title, header, rows, note=" ".join(notes))


def render_ablation(ablation: Ablation) -> Group:
    """Return the ablation as tables for the terminal, with its verdict."""
    return Group(*with_notes([cell_table(ablation)]), Text(ablation_verdict(ablation)))


def ablation_markdown(ablation: Ablation) -> str:
    """Return the ablation as Markdown: verdict and scores."""
    scores = replace(cell_table(ablation), title="").markdown()
    return f"{markdown_text(ablation_verdict(ablation))}\n\n{scores}\n"


def ablation_records(ablation: Ablation) -> list[dict[str, object]]:
    """Return the ablation for CSV and JSON: a record per cell, fractions in full precision."""
    records: list[dict[str, object]] = []
    for cell in ablation.cells:
        edges = "; ".join(f"{kind}: {edge}" for kind, edge in cell.rate_edges.items())
        names = ("score", BALANCED, *PARTS, *ablation.names.parts)
        means = {name: cell.means.get(name) for name in names} | {"difference": cell.comparison}
        records.append(
            {
                "label": cell.label,
                **cell.settings.column_values(),
                "trainable": cell.trainable,
                "seeds": cell.score.n,
                "chance": ablation.chance,
                "seconds": cell.seconds,
                **interval_columns(means),
                **p_columns(cell.comparison),
                "rate_edges": edges or None,
                "unstable": cell in ablation.unstable,
            }
        )
    return records


def write_ablation(folder: Path, ablation: Ablation) -> None:
    """Write `ablation.csv` and `ablation.md` into the study's folder."""
    write_atomically(folder / "ablation.csv", records_csv(ablation_records(ablation)))
    write_atomically(folder / "ablation.md", ablation_markdown(ablation))
