"""The output of an ablation: on the terminal and as Markdown, Parquet and CSV."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from rich.console import Group
from rich.text import Text

from study.analysis.ablation import BASE, AblationTable, Cell, ablation_verdict
from study.analysis.ablation_plots import ablation_plots
from study.analysis.formatting import (
    comparison_cells,
    comparison_columns,
    count,
    estimate_columns,
    score_cells,
    score_header,
    setting_cells,
    setting_header,
)
from study.analysis.plots import write_plots
from study.analysis.results import PARTS, write_parquet
from study.analysis.tables import Table, markdown_text
from study.storage.atomic import write_atomically

NOTE = (
    "± and [ ] are 95 % t intervals over seeds; Δ are paired differences in percentage points over "
    "common seeds; p is Holm-corrected; s is seconds."
)


def cell_table(table: AblationTable) -> Table:
    """Return the scores of the cells, in percent and percentage points."""
    scores = score_header(table.parts, table.metric if table.parts else table.split)
    rows = [
        [
            f"{cell.label} (base)" if cell.label == table.base_label != BASE else cell.label,
            *score_cells(table.parts, cell.parts, cell.score),
            *comparison_cells(cell.comparison),
            len(cell.scores),
            count(cell.trainable),
            None if cell.seconds is None else f"{cell.seconds:.0f}",
        ]
        for cell in table.cells
    ]
    header = ["cell", *scores, "Δ base cell", "p", "seeds", "trainable", "s"]
    return Table("Ablation", header, rows, note=NOTE)


def setting_table(table: AblationTable) -> Table:
    """Return each cell's subset, learning rates and λ."""
    rows = [
        [cell.label, cell.settings.subset, *setting_cells(cell.settings, cell.trainable)]
        for cell in table.cells
    ]
    return Table("Cells", ["cell", "subset", *setting_header()], rows, left=2)


def render(table: AblationTable) -> Group:
    """Return the ablation as rich tables that fit 100 columns, with its verdict."""
    cells = cell_table(table)
    # One table with all columns would be wider than 100 columns.
    scores = cells.split(2 + len(table.parts), f"Differences of {table.metric}")
    return Group(
        *(scores if table.parts else (cells,)),
        setting_table(table),
        *(Text(sentence) for sentence in ablation_verdict(table)),
    )


def to_markdown(table: AblationTable) -> str:
    """Return the ablation as Markdown: verdict, scores, settings."""
    tables = (cell_table(table), setting_table(table))
    blocks = (
        markdown_text(" ".join(ablation_verdict(table))),
        *(replace(one, title="").markdown() for one in tables),
    )
    return "\n\n".join(blocks) + "\n"


def to_arrow(table: AblationTable) -> pa.Table:
    """Return the ablation for other programs: fractions, full precision, one row per cell."""
    return pa.Table.from_pylist([_record(table, cell) for cell in table.cells])


def to_csv(table: AblationTable) -> str:
    """Return the table of `to_arrow` as CSV."""
    return Table.of([_record(table, cell) for cell in table.cells]).csv()


def _record(table: AblationTable, cell: Cell) -> dict[str, object]:
    parts = {part: cell.parts.get(part) for part in (*PARTS, *table.parts)}
    return {
        "label": cell.label,
        "base_label": table.base_label,
        "split": table.split,
        **cell.settings.flat(),
        "trainable": cell.trainable,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
        **estimate_columns({"score": cell.score, **parts}),
        **comparison_columns("difference", cell.comparison),
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
