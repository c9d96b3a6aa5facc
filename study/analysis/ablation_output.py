"""An ablation on the terminal, in Markdown, in Parquet and in CSV."""

import csv
import io

import pyarrow as pa
from rich.console import Group
from rich.text import Text

from study.analysis.ablation import BASE, AblationTable, Cell, ablation_verdict
from study.analysis.formatting import count, difference, interval, probability, rate
from study.analysis.leaderboard import markdown_table, markdown_text, rich_table


def cell_table(table: AblationTable) -> tuple[list[str], list[list[str]]]:
    """Header and cells in percent and percentage points."""
    one = "hmean" if table.base_to_new else "test" if table.split == "test" else "val"
    parts = ["base %", "new %"] if table.base_to_new else []
    header = ["cell", *parts, f"{one} %", "Δ base cell", "p", "seeds", "trainable", "s"]
    cells = [
        [
            f"{cell.label} (base)" if cell.label == table.base_label != BASE else cell.label,
            *([interval(cell.base), interval(cell.new)] if table.base_to_new else []),
            interval(cell.score),
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
    """Header and cells of what each cell tunes, and how fast."""
    cells = [
        [
            cell.label,
            cell.subset or "none",
            rate(cell.bias_lr),
            rate(cell.ln_lr),
            rate(cell.distill_weight) if cell.trainable else "–",
        ]
        for cell in table.cells
    ]
    return ["cell", "subset", "bias lr", "LN lr", "λ"], cells


def render(table: AblationTable) -> Group:
    """The ablation as rich tables that fit 100 columns, and its verdict."""
    header, cells = cell_table(table)
    scores = [rich_table("Ablation", header, cells, left=1)]
    if table.base_to_new:
        # Side by side they fold at 100 columns.
        scores = [
            rich_table("Ablation", header[:4], [row[:4] for row in cells], left=1),
            rich_table(
                "Differences of hmean",
                header[:1] + header[4:],
                [row[:1] + row[4:] for row in cells],
                left=1,
            ),
        ]
    return Group(
        *scores,
        rich_table("Cells", *setting_table(table), left=2),
        *(Text(sentence) for sentence in ablation_verdict(table)),
    )


def to_markdown(table: AblationTable) -> str:
    """The ablation as Markdown: verdict, scores, settings."""
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
    """The ablation for other programs: fractions, full precision, one row a cell."""
    return pa.Table.from_pylist([_record(table, cell) for cell in table.cells])


def to_csv(table: AblationTable) -> str:
    """The columns of `to_arrow` as CSV."""
    rows = [_record(table, cell) for cell in table.cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _record(table: AblationTable, cell: Cell) -> dict[str, float | int | str | None]:
    record: dict[str, float | int | str | None] = {
        "label": cell.label,
        "base_label": table.base_label,
        "split": table.split,
        "subset": cell.subset,
        "bias_lr": cell.bias_lr,
        "ln_lr": cell.ln_lr,
        "distill_weight": cell.distill_weight,
        "trainable": cell.trainable,
        "seeds": len(cell.scores),
        "chance": table.chance,
        "seconds": cell.seconds,
    }
    paired = None if cell.comparison is None else cell.comparison.paired
    for name, value in (
        ("score", cell.score),
        ("base", cell.base),
        ("new", cell.new),
        ("difference", None if paired is None else paired.difference),
    ):
        for field in ("mean", "sd", "low", "high"):
            record[f"{name}_{field}"] = None if value is None else getattr(value, field)
    record["p"] = None if paired is None else paired.p
    record["holm_p"] = None if cell.comparison is None else cell.comparison.holm_p
    return record
