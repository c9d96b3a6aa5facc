"""The cells of an ablation compared with its base."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from study.config.trial_settings import TrialSettings
from study.results.bootstrap import ResampledTests
from study.results.rows import ScoreNames
from study.results.statistics import (
    Finding,
    Intervals,
    MeanInterval,
    difference,
    make_comparisons,
    mean_intervals,
)
from study.results.trial_results import TrialResult
from study.trial.predictions import BALANCED

BASE = "base"
"""The label of the cell that the others are compared with."""
UNSTABLE = 4
"""How many times the spread of the median cell makes a cell unstable."""


@dataclass(frozen=True)
class Cell:
    """One subset of an ablation; scores are fractions."""

    label: str
    """Its name in the study's folder."""
    settings: TrialSettings
    """What is tuned, and how fast."""
    trainable: int
    """The number of trainable parameters."""
    means: Intervals
    """The means of its scores by name: of ``score``, of its parts, and the `BALANCED` one."""
    seconds: float | None
    """The mean duration of a trial in seconds; None when no trial recorded one."""
    comparison: MeanInterval | None
    """The difference to the base cell over common seeds; None for the base itself."""
    rate_edges: Mapping[str, str]
    """The kinds whose best rate is the "lowest" or the "highest" of several that were tried."""

    @property
    def score(self) -> MeanInterval:
        """The protocol's score."""
        return self.means["score"]

    @property
    def finding(self) -> Finding | None:
        """How sure the difference to the base cell is; None where there is none."""
        return self.comparison.finding if self.comparison else None


@dataclass(frozen=True)
class Ablation:
    """The cells of an ablation, and their comparisons with the base."""

    cells: Sequence[Cell]
    """The cells that have a score, best mean first."""
    unscored: Sequence[str]
    """The labels of the cells that have none, since no trial of theirs ran to its end."""

    @property
    def base(self) -> Cell | None:
        """The cell that all others are compared with; None if it has no score."""
        return next((cell for cell in self.cells if cell.label == BASE), None)

    @property
    def different(self) -> Mapping[str, float]:
        """The differences to the base of the cells that differ significantly, largest first.

        They are fractions, by the labels of the cells.
        """
        found: dict[str, float] = {}
        for cell in self.cells:
            if cell.comparison and cell.finding == "significant":
                found[cell.label] = cell.comparison.mean
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    @property
    def unstable(self) -> list[Cell]:
        """The cells whose score spreads over the seeds over `UNSTABLE` times the median cell's."""
        spreads = [(cell.score.sd, cell) for cell in self.cells if cell.score.sd is not None]
        most = UNSTABLE * median(spread for spread, _ in spreads) if spreads else 0.0
        return [cell for spread, cell in spreads if spread > most]


def make_ablation(
    ablated: Sequence[TrialResult],
    searched: Sequence[TrialResult],
    resampled: ResampledTests,
    names: ScoreNames,
) -> Ablation:
    """Compare the cells of an ablation with its base.

    Args:
        ablated: the trials of the cells.
        searched: the trials of the search, which has the cells as its groups.
        resampled: the scores of the study's tests on resampled test images.
        names: the names of the study's scores.
    """
    scored = defaultdict(list)
    for trial in ablated:
        if trial.status == "finished" and trial.test_score is not None:
            scored[trial.label].append(trial)
    comparisons = make_comparisons(
        {
            label: difference(resampled, trials, scored[BASE])
            for label, trials in scored.items()
            if label != BASE and BASE in scored
        }
    )
    cells = []
    for label, trials in scored.items():
        first = trials[0]
        shown = ["score", *names.parts, *([BALANCED] if names.balanced else ())]
        durations = [trial.seconds for trial in trials if trial.seconds is not None]
        cell = Cell(
            label=label,
            settings=first.settings,
            trainable=first.trainable,
            means=mean_intervals(resampled, trials, shown),
            seconds=fmean(durations) if durations else None,
            comparison=comparisons.get(label),
            rate_edges=_rate_edges(first.settings, [trial.settings for trial in searched]),
        )
        cells.append(cell)
    labels = [trial.group for trial in searched] + [trial.label for trial in ablated]
    return Ablation(
        cells=sorted(cells, key=lambda cell: -cell.score.mean),
        unscored=[label for label in dict.fromkeys(labels) if label not in scored],
    )


def _rate_edges(cell: TrialSettings, searched: Sequence[TrialSettings]) -> dict[str, str]:
    """Return `Cell.rate_edges`, from the settings of the trials that tried rates."""
    tried = [one.rates for one in searched if one.subset == cell.subset]
    edges = {}
    for kind, rate in cell.rates.items():
        rates = {of_trial[kind] for of_trial in tried if kind in of_trial}
        if len(rates) > 1 and rate in (min(rates), max(rates)):
            edges[kind] = "lowest" if rate == min(rates) else "highest"
    return edges
