"""The cells of an ablation compared with its base."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from study.method.subsets import Term, parse
from study.results.chance import BALANCED
from study.results.entries import Configuration
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled, resample
from study.results.statistics import (
    Finding,
    finding,
    is_significant,
    make_comparisons,
)
from study.results.study_results import Results
from study.results.trial_results import TrialResult, first_chance, seed_scores
from study.trial.study import Split

BASE = "base"
"""The label of the cell that the others are compared with."""
UNSTABLE = 4
"""How many times the spread of the median cell makes a cell unstable."""


@dataclass(frozen=True)
class Cell(Configuration):
    """One subset of an ablation."""

    score: MeanInterval
    """The mean of `scores` and its interval."""
    balanced: MeanInterval | None
    """The score made of the mean recall of classes; None where it is not shown."""
    seconds: float | None
    """The mean duration of a trial in seconds; None when no trial recorded one."""
    comparison: MeanInterval | None
    """The difference to the base cell over common seeds; None for the base itself."""
    rate_edges: Mapping[str, str]
    """The kinds whose learning rate is the "lowest" or the "highest" of several that were tried.

    A kind is left out if its rate is in between, or if only one was tried.
    """

    @property
    def differs_from_base(self) -> bool:
        """Whether the cell differs from the base, by its interval and after Holm's correction."""
        return is_significant(self.comparison)

    @property
    def finding(self) -> Finding | None:
        """How sure the difference to the base cell is; None where there is none."""
        return finding(self.comparison) if self.comparison else None


@dataclass(frozen=True)
class AblationTable(Results):
    """The results of an ablation, with the comparison of its cells."""

    split: Split
    """The images that the scores were measured on."""
    cells: Sequence[Cell]
    """The cells that have a score, best mean first."""
    unscored: Sequence[str]
    """The labels of the cells that have none, since no trial of theirs ran to its end."""
    resampled: Resampled
    """The scores of the cells on resampled test images."""

    @property
    def base(self) -> Cell | None:
        """The cell that all others are compared with; None if it has no score."""
        return next((cell for cell in self.cells if cell.label == BASE), None)

    @property
    def different(self) -> Mapping[str, float]:
        """The differences to the base of the cells that differ significantly, largest first.

        They are fractions, by the labels of the cells.
        """
        found = {}
        for cell in self.cells:
            if cell.comparison and cell.finding == "beyond noise":
                found[cell.label] = cell.comparison.mean
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    @property
    def unstable(self) -> list[Cell]:
        """The cells whose score spreads over the seeds over `UNSTABLE` times the median cell's."""
        spread_cells = [(cell.score.sd, cell) for cell in self.cells if cell.score.sd is not None]
        if not spread_cells:
            return []
        most = UNSTABLE * median(spread for spread, _ in spread_cells)
        return [cell for spread, cell in spread_cells if spread > most]

    @property
    def chance(self) -> float | None:
        """The balanced test score of guessing, a fraction.

        None where nothing was tested, or no trial kept its counts of classes.
        """
        return first_chance(self.stage("ablation"))

    @property
    def shows_balanced(self) -> bool:
        """Whether balanced scores are shown next to the scores."""
        return any(cell.balanced for cell in self.cells)


def ablation_table(results: Results) -> AblationTable:
    """Compare the cells of an ablation with its base.

    The table holds test scores if any trial has one, else validation scores; it never mixes them.

    Args:
        results: the results of the study.
    """
    ablated = results.stage("ablation")
    split: Split = "val"
    if any(trial.test_score is not None for trial in ablated):
        split = "test"
    scored = defaultdict(list)
    for trial in ablated:
        if trial.status == "finished" and trial.scores(split).get("score") is not None:
            scored[trial.label].append(trial)
    # Predictions are of test images, so that validation scores have an interval over seeds alone.
    predicted = chain.from_iterable(scored.values())
    resampled = resample(predicted, results.protocol, overlap=results.training_overlap)
    scores = {label: seed_scores(trials, split=split) for label, trials in scored.items()}
    comparisons: Mapping[str, MeanInterval] = {}
    if BASE in scored:
        base = BASE, scores.pop(BASE), -1
        comparisons = make_comparisons(
            {
                label: resampled.weighted_sum([(label, own, 1), base])
                for label, own in scores.items()
            }
        )
    cells = [
        _make_cell(trials, comparisons.get(label), results, resampled, split)
        for label, trials in scored.items()
    ]
    by_score = sorted(cells, key=lambda cell: -cell.score.mean)
    # A search has the cells as its groups.
    tried = [trial.group for trial in results.stage("search")] + [trial.label for trial in ablated]
    return AblationTable(
        **results.facts(),
        split=split,
        cells=by_score,
        unscored=[label for label in dict.fromkeys(tried) if label not in scored],
        resampled=resampled,
    )


def _make_cell(
    trials: Sequence[TrialResult],
    comparison: MeanInterval | None,
    results: Results,
    resampled: Resampled,
    split: Split,
) -> Cell:
    """Summarize the trials of one cell, one trial a seed."""
    first = trials[0]
    intervals = resampled.mean_intervals(trials, ["score", *results.further_names], split)
    durations = [trial.seconds for trial in trials if trial.seconds is not None]
    mean_seconds = None
    if durations:
        mean_seconds = sum(durations) / len(durations)
    return Cell(
        label=first.label,
        settings=first.settings,
        trainable=first.trainable,
        scores=seed_scores(trials, split=split),
        score=intervals["score"],
        balanced=intervals.get(BALANCED),
        parts=resampled.mean_intervals(trials, results.parts, split),
        seconds=mean_seconds,
        comparison=comparison,
        rate_edges=_rate_edges(first, results),
    )


def _rate_edges(cell: TrialResult, results: Results) -> dict[str, str]:
    """Return `Cell.rate_edges`, from the trials that tried rates."""
    trials = [one.settings for one in results.stage("search")]
    rates_of_trials = [one.rates for one in trials if one.subset == cell.settings.subset]
    edges = {}
    for kind, rate in cell.settings.rates.items():
        tried = sorted({rates[kind] for rates in rates_of_trials if kind in rates})
        if len(tried) > 1:
            ends = {tried[0]: "lowest", tried[-1]: "highest"}
            if rate in ends:
                edges[kind] = ends[rate]
    return edges


def only_term(subset: str) -> Term | None:
    """Return the only term of a subset that just adds this term, else None."""
    return left_out_term("none", base=subset)


def left_out_term(subset: str, base: str) -> Term | None:
    """Return the term that a subset leaves out, if that is its only difference to the base."""
    terms = parse(subset).terms
    base_terms = parse(base).terms
    # A term that the subset subtracts is left out just as one that it does not add.
    differences = [(-sign, term) for sign, term in terms if (sign, term) not in base_terms]
    differences += [signed for signed in base_terms if signed not in terms]
    if [sign for sign, _ in differences] != [1]:
        return None
    return differences[0][1]
