"""The output of an ablation: on the terminal and as Markdown, Parquet and CSV."""

import csv
import io
from pathlib import Path

import pyarrow as pa
from rich.console import Group
from rich.text import Text

from study.analysis.ablation import BASE, AblationTable, Cell, ablation_verdict
from study.analysis.ablation_plots import ablation_plots
from study.analysis.formatting import (
    count,
    difference,
    estimate_columns,
    probability,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
)
from study.analysis.plots import write_plots
from study.analysis.results import PARTS, write_parquet
from study.analysis.tables import markdown_table, markdown_text, rich_table
from study.storage.atomic import write_atomically


def cell_table(table: AblationTable) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of the scores, in percent and percentage points."""
    scores = score_header(table.parts, table.metric if table.parts else table.split)
    header = ["cell", *scores, "Δ base cell", "p", "seeds", "trainable", "s"]
    cells = [
        [
            f"{cell.label} (base)" if cell.label == table.base_label != BASE else cell.label,
            *score_cells(table.parts, cell.parts, cell.score),
            "–" if cell.comparison is None else difference(cell.comparison.paired),
            "–" if cell.comparison is None else probability(cell.comparison.holm_p),
            str(len(cell.scores)),
            count(cell.trainable),
            "–" if cell.seconds is None else f"{cell.seconds:.0f}",
        ]
        for cell in table.cells
    ]
    return header, cells


def setting_table(table: AblationTable) -> tuple[list[str], list[list[str]]]:
    """Return the header and cells of each cell's subset, learning rates and λ."""
    cells = [
        [cell.label, cell.settings.subset or "none", *setting_cells(cell.settings, cell.trainable)]
        for cell in table.cells
    ]
    return ["cell", "subset", *setting_header()], cells


def render(table: AblationTable) -> Group:
    """Return the ablation as rich tables that fit 100 columns, with its verdict."""
    header, cells = cell_table(table)
    scores = [rich_table("Ablation", header, cells, left=1)]
    if table.parts:
        # One table with all columns would be wider than 100 columns.
        end = 2 + len(table.parts)
        scores = [
            rich_table("Ablation", header[:end], [row[:end] for row in cells], left=1),
            rich_table(
                f"Differences of {table.metric}",
                header[:1] + header[end:],
                [row[:1] + row[end:] for row in cells],
                left=1,
            ),
        ]
    return Group(
        *scores,
        rich_table("Cells", *setting_table(table), left=2),
        *(Text(sentence) for sentence in ablation_verdict(table)),
    )


def to_markdown(table: AblationTable) -> str:
    """Return the ablation as Markdown: verdict, scores, settings."""
    return (
        "\n\n".join(
            [
                " ".join(markdown_text(sentence) for sentence in ablation_verdict(table)),
                markdown_table(*cell_table(table)),
                markdown_text(
                    "± and [ ] are 95 % t intervals over seeds; Δ are paired differences in "
                    "percentage points over common seeds; p is Holm-corrected; s is seconds."
                ),
                markdown_table(*setting_table(table)),
            ]
        )
        + "\n"
    )


def to_arrow(table: AblationTable) -> pa.Table:
    """Return the ablation for other programs: fractions, full precision, one row per cell."""
    return pa.Table.from_pylist([_record(table, cell) for cell in table.cells])


def to_csv(table: AblationTable) -> str:
    """Return the table of `to_arrow` as CSV."""
    rows = [_record(table, cell) for cell in table.cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _record(table: AblationTable, cell: Cell) -> dict[str, float | int | str | None]:
    paired = None if cell.comparison is None else cell.comparison.paired
    return {
        "label": cell.label,
        "base_label": table.base_label,
        "split": table.split,
        **cell.settings.flat(),
        "trainable": cell.trainable,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
        **estimate_columns(
            {
                "score": cell.score,
                **{part: cell.parts.get(part) for part in (*PARTS, *table.parts)},
                "difference": None if paired is None else paired.difference,
            }
        ),
        "p": None if paired is None else paired.p,
        "holm_p": None if cell.comparison is None else cell.comparison.holm_p,
    }


def write_ablation(folder: Path, table: AblationTable) -> tuple[Path, ...]:
    """Write `ablation.parquet`, `.csv`, `.md` and the plots into the study's folder.

    Returns:
        The paths of the written files.
    """
    paths = tuple(folder / f"ablation.{ending}" for ending in ("parquet", "csv", "md"))
    write_parquet(paths[0], to_arrow(table))
    write_atomically(paths[1], to_csv(table))
    write_atomically(paths[2], to_markdown(table))
    return (*paths, *write_plots(folder, ablation_plots(table)))
