"""An ablation's cells against its base: table and verdict."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from study.analysis.comparison import Comparison, Row, is_base_to_new
from study.analysis.formatting import (
    SIGNIFICANCE,
    guessing,
    interval,
    points,
)
from study.analysis.statistics import Estimate, estimate, holm, paired_difference
from study.errors import DataError
from study.trial import Split

BASE = "base"
"""The label of the cell that the others are compared with by default."""

Edge = Literal["lowest", "highest"]


@dataclass(frozen=True)
class Cell:
    """One subset of an ablation over its seeds; scores are fractions."""

    label: str
    """The name of the cell."""
    subset: str | None
    """The tuned parameters, in the subset language."""
    bias_lr: float | None
    """The learning rate of biases."""
    ln_lr: float | None
    """The learning rate of LayerNorms."""
    distill_weight: float | None
    """λ, the weight of the distillation loss."""
    trainable: int | None
    """The number of trainable parameters."""
    scores: Mapping[int, float]
    """The protocol's score of each seed."""
    score: Estimate
    """The mean of `scores` and its interval."""
    base: Estimate | None
    """The accuracy on base classes; None unless the protocol is base-to-new."""
    new: Estimate | None
    """The accuracy on new classes; None unless the protocol is base-to-new."""
    seconds: float | None
    """The mean duration of a trial in seconds; None when no trial recorded one."""
    comparison: Comparison | None
    """The difference to the base cell over common seeds; None for the base itself."""
    edge: Edge | None
    """Where the learning rate stands among several tried; None means in between, or no choice."""

    @property
    def beyond_noise(self) -> bool:
        """Whether the cell differs from the base, by its interval and after Holm's correction."""
        return (
            self.comparison is not None
            and not self.comparison.paired.within_noise
            and self.comparison.holm_p is not None
            and self.comparison.holm_p <= SIGNIFICANCE
        )


@dataclass(frozen=True)
class AblationTable:
    """The cells of an ablation, best mean first."""

    base_label: str
    """The label of the cell that all others are compared with."""
    split: Split
    """The images that the scores were measured on."""
    base_to_new: bool
    """Whether scores are harmonic means of base and new accuracy."""
    cells: tuple[Cell, ...]
    """The cells that have a score, with the base."""
    chance: float | None
    """The test score of always naming the largest class, a fraction.

    None where nothing was tested, or no trial kept its counts of classes.
    """

    @property
    def base(self) -> Cell:
        """The base cell."""
        return next(cell for cell in self.cells if cell.label == self.base_label)


def ablation_table(rows: Sequence[Row], base_label: str = BASE) -> AblationTable:
    """Compare the cells of an ablation with its base.

    The table holds test scores if any trial has one, else validation scores; it never mixes them.

    Args:
        rows: the rows of the results table, of all stages.
        base_label: the label of the cell to compare with.

    Raises:
        DataError: no cell with the label `base_label` has a score.
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
    tried = _rates_tried(rows)
    cells = [
        _cell(
            label,
            seeds,
            scores[label],
            split,
            comparisons.get(label),
            tried.get(seeds[0]["subset_key"], set()),
        )
        for label, seeds in scored.items()
    ]
    cells.sort(key=lambda cell: -cell.score.mean)
    chance = next((row["chance"] for row in ablated if row["chance"] is not None), None)
    return AblationTable(base_label, split, is_base_to_new(ablated), tuple(cells), chance)


def ablation_verdict(table: AblationTable) -> tuple[str, ...]:
    """Return sentences that name the cells beyond noise, within noise and at an edge of rates."""
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
    for edge in ("lowest", "highest"):
        if at_edge := [f"“{cell.label}”" for cell in table.cells if cell.edge == edge]:
            sentences.append(
                f"At the {edge} of the learning rates tried, so that more might help: "
                f"{', '.join(at_edge)}."
            )
    sentences += guessing(table.chance)
    if table.split == "val":
        sentences.append("These are validation scores; nothing was tested.")
    return tuple(sentences)


def _cell(
    label: str,
    seeds: Sequence[Row],
    scores: Mapping[int, float],
    split: Split,
    comparison: Comparison | None,
    tried: Set[float],
) -> Cell:
    first = seeds[0]
    chosen = _rate(first)
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
        edge=_edge(chosen, tried),
    )


def _rates_tried(rows: Sequence[Row]) -> dict[str, set[float]]:
    """Return the learning rates that each cell's was chosen from on validation, by subset key."""
    tried: dict[str, set[float]] = {}
    for row in rows:
        if row["stage"] == "search" and (rate := _rate(row)) is not None:
            tried.setdefault(row["subset_key"], set()).add(rate)
    return tried


def _rate(row: Row) -> float | None:
    """Return the learning rate of a cell's trial, which biases and LayerNorms share."""
    rate: float | None = row["bias_lr"] if row["bias_lr"] is not None else row["ln_lr"]
    return rate


def _edge(chosen: float | None, tried: Set[float]) -> Edge | None:
    if chosen is None or len(tried) < 2:
        return None
    return "lowest" if chosen == min(tried) else "highest" if chosen == max(tried) else None
