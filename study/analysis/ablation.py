"""An ablation's cells against its base: table, verdict and files.

Run as `python -m study.analysis.ablation runs/NAME [--base LABEL]`.
"""

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
from rich.console import Console, Group
from rich.text import Text

from study.analysis.confirmation import Comparison, Row, is_base_to_new
from study.analysis.leaderboard import markdown_table, markdown_text, rich_table
from study.analysis.results import read_results, write_parquet
from study.analysis.statistics import Estimate, estimate, holm, paired_difference
from study.analysis.wording import (
    SIGNIFICANCE,
    count,
    difference,
    interval,
    points,
    probability,
    rate,
)
from study.errors import DataError, StudyError
from study.files import write_atomically

BASE = "base"
"""Label of the cell that the others are compared with, unless another is named."""

Split = Literal["test", "val"]


@dataclass(frozen=True)
class Cell:
    """One subset of an ablation over its seeds; scores are fractions.

    Attributes:
        label: name of the cell.
        scores: the protocol's one number per seed.
        score: its mean and interval.
        base: accuracy on base classes; None in the few-shot protocol.
        new: accuracy on new classes; None in the few-shot protocol.
        seconds: mean time of a trial; None when none was kept.
        comparison: against the base cell over common seeds; None for the base itself.
    """

    label: str
    subset: str | None
    bias_lr: float | None
    ln_lr: float | None
    distill_weight: float | None
    trainable: int | None
    scores: Mapping[int, float]
    score: Estimate
    base: Estimate | None
    new: Estimate | None
    seconds: float | None
    comparison: Comparison | None

    @property
    def beyond_noise(self) -> bool:
        """Whether it differs from the base by its interval and after Holm's correction."""
        return (
            self.comparison is not None
            and not self.comparison.paired.within_noise
            and self.comparison.holm_p is not None
            and self.comparison.holm_p <= SIGNIFICANCE
        )


@dataclass(frozen=True)
class AblationTable:
    """The cells of an ablation, best mean first.

    Attributes:
        base_label: the cell that all others are compared with.
        split: what the scores were measured on.
        base_to_new: whether scores are harmonic means of base and new accuracy.
        cells: those with a score, the base included.
    """

    base_label: str
    split: Split
    base_to_new: bool
    cells: tuple[Cell, ...]

    @property
    def base(self) -> Cell:
        """The base cell."""
        return next(cell for cell in self.cells if cell.label == self.base_label)


def ablation_table(rows: Sequence[Row], base_label: str = BASE) -> AblationTable:
    """Compare the cells of an ablation with its base.

    Test scores are used where there are any, else validation scores: never a mixture.

    Args:
        rows: of the results table; those of other stages are passed over.
        base_label: the cell to compare with.

    Raises:
        DataError: no cell of that name has a score.
    """
    ablated = [row for row in rows if row["stage"] == "ablation"]
    tested = any(row["test_score"] is not None for row in ablated)
    split: Split = "test" if tested else "val"
    scored: dict[str, list[Row]] = {}
    for row in ablated:
        if row["status"] == "finished" and row[f"{split}_score"] is not None:
            scored.setdefault(row["label"], []).append(row)
    if base_label not in scored:
        named = ", ".join(sorted(scored)) or "none"
        raise DataError(f"base cell '{base_label}' has no score; cells with one: {named}")
    scores = {
        label: {row["seed"]: row[f"{split}_score"] for row in seeds}
        for label, seeds in scored.items()
    }
    paired = {
        label: found
        for label, values in scores.items()
        if label != base_label
        and (found := paired_difference(values, scores[base_label])) is not None
    }
    corrected = holm([found.p for found in paired.values()])
    comparisons = {
        label: Comparison(found, p)
        for (label, found), p in zip(paired.items(), corrected, strict=True)
    }
    cells = [
        _cell(label, seeds, scores[label], split, comparisons.get(label))
        for label, seeds in scored.items()
    ]
    cells.sort(key=lambda cell: -cell.score.mean)
    return AblationTable(base_label, split, is_base_to_new(ablated), tuple(cells))


def ablation_verdict(table: AblationTable) -> tuple[str, ...]:
    """Say which cells differ from the base by more than noise, and that the others do not."""
    compared = [cell for cell in table.cells if cell.comparison is not None]
    beyond = [cell for cell in compared if cell.beyond_noise]
    sentences = [
        f"{len(beyond)} of {len(compared)} cells differ from “{table.base_label}” "
        f"({interval(table.base.score)} %) by more than noise, after Holm’s correction for "
        f"{len(compared)} comparisons."
    ]
    for cell in beyond:
        if cell.comparison is not None:
            change = points(cell.comparison.paired.difference.mean)
            sentences.append(f"“{cell.label}”: {change} points.")
    rest = [f"“{cell.label}”" for cell in compared if not cell.beyond_noise]
    if rest:
        sentences.append(f"Within noise: {', '.join(rest)}.")
    if table.split == "val":
        sentences.append("These are validation scores; nothing was tested.")
    return tuple(sentences)


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


def write_ablation(folder: Path, base_label: str = BASE) -> tuple[Path, ...]:
    """Write `ablation.parquet`, `.csv` and `.md` and its plots into the study's folder.

    Raises:
        DataError: the folder holds no study, or no cell of that name has a score.
    """
    from study.analysis.ablation_plots import ablation_plots
    from study.analysis.plots import write_plots

    table = ablation_table(read_results(folder).to_pylist(), base_label)
    paths = tuple(folder / f"ablation.{ending}" for ending in ("parquet", "csv", "md"))
    write_parquet(paths[0], to_arrow(table))
    write_atomically(paths[1], to_csv(table))
    write_atomically(paths[2], to_markdown(table))
    return (*paths, *write_plots(folder, ablation_plots(table)))


def _cell(
    label: str,
    seeds: Sequence[Row],
    scores: Mapping[int, float],
    split: Split,
    comparison: Comparison | None,
) -> Cell:
    first = seeds[0]
    parts = {
        part: [row[f"{split}_{part}"] for row in seeds if row[f"{split}_{part}"] is not None]
        for part in ("base", "new")
    }
    seconds = [row["seconds"] for row in seeds if row["seconds"] is not None]
    return Cell(
        label=label,
        subset=first["subset"],
        bias_lr=first["bias_lr"],
        ln_lr=first["ln_lr"],
        distill_weight=first["distill_weight"],
        trainable=first["trainable"],
        scores=scores,
        score=estimate(list(scores.values())),
        base=estimate(parts["base"]) if parts["base"] else None,
        new=estimate(parts["new"]) if parts["new"] else None,
        seconds=sum(seconds) / len(seconds) if seconds else None,
        comparison=comparison,
    )


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print an ablation and write its files; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m study.analysis.ablation", description="Compare an ablation's cells."
    )
    parser.add_argument("folder", type=Path, help="the study's folder, runs/NAME")
    parser.add_argument("--base", default=BASE, help="cell to compare with (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        table = ablation_table(read_results(options.folder).to_pylist(), options.base)
        paths = write_ablation(options.folder, options.base)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    Console().print(render(table))
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
