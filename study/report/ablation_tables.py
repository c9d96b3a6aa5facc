"""An ablation's cells against its base: table, chart and records."""

from typing import Any

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
from study.report.tables import Table
from study.report.verdict import ablation_notes, interval_scope
from study.results.ablation import Ablation
from study.results.study_result import StudyResult
from study.results.trial_results import PARTS
from study.trial.predictions import BALANCED


def forest_chart(ablation: Ablation) -> Chart:
    """Draw the difference of each cell from the base, with its interval."""
    # From bottom to top, so that the best cell is the uppermost.
    cells = [cell for cell in reversed(ablation.cells) if cell.comparison]

    def paint(axes: Any) -> None:
        for name, color, differs in (
            ("significant", ORANGE, True),
            ("not significant", GREY, False),
        ):
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
        "Difference of each cell from “base”",
        "Paired differences over common seeds. The 95 % intervals are not corrected for multiple "
        "comparisons; grey cells don’t differ significantly after Holm’s correction.",
        [paint] if cells else [],
        reason_if_empty="no cell can be compared with the base",
        width=7.0,
        height=1.5 + 0.32 * len(cells),
    )


def cell_table(result: StudyResult) -> Table:
    """Return the scores of the cells, in percent and percentage points; no rows without cells."""
    cells = result.ablation.cells if result.ablation else ()
    scores = score_titles(result.score_names)
    header = ["cell", *scores.values(), "Δ base", "p", "seeds"]
    header += [*setting_header()[2:], "trainable", "s"]
    rows = []
    for cell in cells:
        row: list[object] = [cell.label]
        row += [format_mean(cell.means.get(name)) for name in scores]
        holm_p = cell.comparison.holm_p if cell.comparison else None
        row += [format_difference(cell.comparison), probability(holm_p)]
        row += [cell.score.n, *setting_cells(cell.settings)[2:], format_count(cell.trainable)]
        rows.append([*row, None if cell.seconds is None else f"{cell.seconds:.0f}"])
    notes = ["± and [ ] are 95 % intervals."]
    notes += interval_scope(result.resampled, [cell.score for cell in cells])
    notes.append(
        "Δ base: paired difference from the cell “base” in percentage points. p: Holm-corrected. "
        "s: seconds."
    )
    if result.chance is not None:
        notes.append(f"Chance: {percent(result.chance)} % (balanced).")
    notes += ablation_notes(result.ablation) if result.ablation else []
    title = f"Ablation: test {result.protocol.metric}, %"
    return Table(title, header, rows, note=" ".join(notes))


def cell_records(result: StudyResult) -> list[dict[str, object]]:
    """Return the cells for CSV and JSON: a record per cell, fractions in full precision."""
    ablation, records = result.ablation, list[dict[str, object]]()
    for cell in ablation.cells if ablation else ():
        edges = "; ".join(f"{kind}: {edge}" for kind, edge in cell.rate_edges.items())
        names = ("score", BALANCED, *PARTS, *result.score_names.parts)
        means = {name: cell.means.get(name) for name in names} | {"difference": cell.comparison}
        records.append(
            {
                "label": cell.label,
                **cell.settings.column_values(),
                "trainable": cell.trainable,
                "seeds": cell.score.n,
                "chance": result.chance,
                "seconds": cell.seconds,
                **interval_columns(means),
                **p_columns(cell.comparison),
                "rate_edges": edges or None,
                "unstable": ablation is not None and cell in ablation.unstable,
            }
        )
    return records
