"""An ablation's cells against its base: table and verdict."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from study.analysis.comparison import Comparison, Configuration, compare, estimates
from study.analysis.formatting import SIGNIFICANCE, guessing, interval, points
from study.analysis.results import Results, TrialResult
from study.analysis.statistics import Estimate
from study.errors import DataError
from study.trial import Split

BASE = "base"
"""The label of the cell that the others are compared with by default."""

Edge = Literal["lowest", "highest"]


@dataclass(frozen=True)
class Cell(Configuration):
    """One subset of an ablation."""

    score: Estimate
    """The mean of `scores` and its interval."""
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
    parts: tuple[str, ...]
    """The parts of a score that are shown beside it; empty if it has none."""
    metric: str
    """What the score is called: "accuracy", or "hmean" of its parts."""
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


def ablation_table(results: Results, base_label: str = BASE) -> AblationTable:
    """Compare the cells of an ablation with its base.

    The table holds test scores if any trial has one, else validation scores; it never mixes them.

    Args:
        results: the results of the study.
        base_label: the label of the cell to compare with.

    Raises:
        DataError: no cell with the label `base_label` has a score.
    """
    ablated = results.stage("ablation")
    tested = any(trial.test_score is not None for trial in ablated)
    split: Split = "test" if tested else "val"
    scored: dict[str, list[TrialResult]] = {}
    for trial in ablated:
        if trial.status == "finished" and trial.scores(split).get("score") is not None:
            scored.setdefault(trial.label, []).append(trial)
    if base_label not in scored:
        named = ", ".join(sorted(scored)) or "none"
        raise DataError(f"base cell '{base_label}' has no score; cells with one: {named}")
    scores = {
        label: {trial.seed: trial.scores(split)["score"] or 0.0 for trial in seeds}
        for label, seeds in scored.items()
    }
    comparisons = compare(scores, base_label)
    searched = results.stage("search")
    cells = []
    for label, seeds in scored.items():
        first, seconds = seeds[0], [t.seconds for t in seeds if t.seconds is not None]
        rates = {_rate(trial) for trial in searched if trial.subset_key == first.subset_key}
        cells.append(
            Cell(
                label=label,
                settings=first.settings,
                trainable=first.trainable,
                scores=scores[label],
                score=estimates(seeds, ("score",), split)["score"],
                parts=estimates(seeds, results.parts, split),
                seconds=sum(seconds) / len(seconds) if seconds else None,
                comparison=comparisons.get(label),
                edge=_edge(_rate(first), {rate for rate in rates if rate is not None}),
            )
        )
    cells.sort(key=lambda cell: -cell.score.mean)
    chance = next((trial.chance for trial in ablated if trial.chance is not None), None)
    return AblationTable(base_label, split, results.parts, results.metric, tuple(cells), chance)


def ablation_verdict(table: AblationTable) -> tuple[str, ...]:
    """Return sentences that name the cells beyond noise, within noise and at an edge of rates."""
    compared = [cell for cell in table.cells if cell.comparison is not None]
    beyond = {
        f"“{cell.label}”": cell.comparison.paired.difference.mean
        for cell in compared
        if cell.comparison and cell.beyond_noise
    }
    named = {
        "Within noise": [cell for cell in compared if not cell.beyond_noise],
        **{
            f"At the {edge} of the learning rates tried, so that more might help": [
                cell for cell in table.cells if cell.edge == edge
            ]
            for edge in ("lowest", "highest")
        },
    }
    return (
        f"{len(beyond)} of {len(compared)} cells differ from “{table.base_label}” "
        f"({interval(table.base.score)} %) by more than noise, after Holm’s correction for "
        f"{len(compared)} comparisons.",
        *(f"{label}: {points(mean)} points." for label, mean in beyond.items()),
        *(
            f"{found}: {', '.join(f'“{cell.label}”' for cell in cells)}."
            for found, cells in named.items()
            if cells
        ),
        *guessing(table.chance),
        *(["These are validation scores; nothing was tested."] if table.split == "val" else ()),
    )


def _rate(trial: TrialResult) -> float | None:
    """Return the learning rate of a cell's trial, which all kinds of parameters share."""
    return next(iter(trial.settings.rates.values()), None)


def _edge(chosen: float | None, tried: Set[float]) -> Edge | None:
    if chosen is None or len(tried) < 2:
        return None
    return "lowest" if chosen == min(tried) else "highest" if chosen == max(tried) else None
