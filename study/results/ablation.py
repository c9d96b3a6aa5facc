"""An ablation's cells against its base, and the pairs of sites that interact."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.config.schema import AblationConfig
from study.errors import DataError
from study.method.subsets import Term, parse
from study.protocols import Protocol
from study.results.entries import Configuration
from study.results.interactions import Interaction, SiteCell, interactions
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled, resample
from study.results.shared_test import count_other_readers
from study.results.statistics import Comparison, is_significant
from study.results.study_results import Results
from study.results.trial_results import TrialResult
from study.selection.chance import BALANCED
from study.trial import Split
from study.trial.predictions import images_of

BASE = "base"
"""The label of the cell that the others are compared with by default."""


@dataclass(frozen=True)
class Cell(Configuration):
    """One subset of an ablation."""

    score: MeanInterval
    """The mean of `scores` and its interval."""
    balanced: MeanInterval | None
    """The same with the mean recall of classes for the accuracy; None where it is not shown."""
    seconds: float | None
    """The mean duration of a trial in seconds; None when no trial recorded one."""
    comparison: Comparison | None
    """The difference to the base cell over common seeds; None for the base itself."""
    rate_edges: Mapping[str, str]
    """Where the learning rate of each kind stands among several tried, "lowest" or "highest".

    A kind whose rate is in between, or was no choice, is left out.
    """
    added_rates: Mapping[str, tuple[float, ...]]
    """The rates of each kind that were tried beyond the configured ones, lowest first."""

    @property
    def differs_from_base(self) -> bool:
        """Whether the cell differs from the base, by its interval and after Holm's correction."""
        return is_significant(self.comparison)


@dataclass(frozen=True)
class AblationTable:
    """The cells of an ablation, best mean first."""

    base: Cell
    """The cell that all others are compared with."""
    split: Split
    """The images that the scores were measured on."""
    parts: tuple[str, ...]
    """The parts of a score that are shown beside it; empty if it has none."""
    metric: str
    """What the score is called: "accuracy", or "hmean" of its parts."""
    cells: tuple[Cell, ...]
    """The cells that have a score, with the base."""
    chance: float | None
    """The balanced test score of guessing, a fraction.

    None where nothing was tested, or no trial kept its counts of classes.
    """
    protocol: Protocol
    """The study's protocol."""
    resampled: Resampled
    """The scores of the cells on test images that were drawn again."""
    order: tuple[str, ...]
    """The labels of the cells in the order of their trials."""
    interactions: tuple[Interaction, ...] = ()
    """The interactions of pairs of sites, largest first; empty in other designs."""
    other_readers: int = 0
    """How many other studies of the storage were tested on images of this one's test."""

    @property
    def shows_balanced(self) -> bool:
        """Whether balanced scores are shown beside the scores."""
        return any(cell.balanced is not None for cell in self.cells)


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
    split: Split = "test" if any(t.test_score is not None for t in ablated) else "val"
    finished = [
        trial
        for trial in ablated
        if trial.status == "finished" and trial.scores(split).get("score") is not None
    ]
    scored = {
        label: [trial for trial in finished if trial.label == label]
        for label in dict.fromkeys(trial.label for trial in finished)
    }
    if base_label not in scored:
        raise DataError(
            f"base cell '{base_label}' has no score; cells with one: "
            f"{', '.join(sorted(scored)) or 'none'}"
        )
    scores = {
        label: {trial.seed: trial.scores(split)["score"] or 0.0 for trial in seeds}
        for label, seeds in scored.items()
    }
    # Predictions are of test images, so that validation scores have an interval over seeds alone.
    predicted = finished if split == "test" else []
    resampled = resample(predicted, results.protocol, overlap=results.training_overlap)
    comparisons = resampled.compare(scores, base_label)
    ablation = results.study.config.ablation
    balanced = [name for name in results.further_names if name == BALANCED]
    cells = []
    for label, seeds in scored.items():
        first, seconds = seeds[0], [t.seconds for t in seeds if t.seconds is not None]
        tried = _tried(first, results.stage("search"))
        cells.append(
            Cell(
                label=label,
                settings=first.settings,
                trainable=first.trainable,
                scores=scores[label],
                score=resampled.mean_intervals(seeds, ("score",), split)["score"],
                balanced=resampled.mean_intervals(seeds, balanced, split).get(BALANCED),
                parts=resampled.mean_intervals(seeds, results.parts, split),
                seconds=sum(seconds) / len(seconds) if seconds else None,
                comparison=comparisons.get(label),
                rate_edges=_edges(first, tried),
                added_rates=_added(tried, ablation),
            )
        )
    return AblationTable(
        base=next(cell for cell in cells if cell.label == base_label),
        split=split,
        parts=results.parts,
        metric=results.metric,
        cells=tuple(sorted(cells, key=lambda cell: -cell.score.mean)),
        chance=next((trial.chance for trial in ablated if trial.chance is not None), None),
        protocol=results.protocol,
        resampled=resampled,
        order=tuple(scored),
        interactions=_interactions(cells, results, split, resampled),
        other_readers=count_other_readers(results),
    )


def _tried(cell: TrialResult, searched: Sequence[TrialResult]) -> dict[str, list[float]]:
    """Return the rates that were tried of each kind that a cell tunes, each once, lowest first."""
    alike = [trial.settings.rates for trial in searched if trial.subset_key == cell.subset_key]
    return {
        kind: sorted({rates[kind] for rates in alike if kind in rates})
        for kind in cell.settings.rates
    }


def _edges(cell: TrialResult, tried: Mapping[str, list[float]]) -> dict[str, str]:
    """Return what `Cell.rate_edges` is, of the rates that were tried of each kind."""
    ends = ((kind, rates[0], rates[-1]) for kind, rates in tried.items() if len(rates) > 1)
    return {
        kind: "lowest" if chosen == low else "highest"
        for kind, low, high in ends
        if (chosen := cell.settings.rates[kind]) in (low, high)
    }


def _added(
    tried: Mapping[str, list[float]], ablation: AblationConfig | None
) -> dict[str, tuple[float, ...]]:
    """Return what `Cell.added_rates` is; empty where no configuration says what was planned."""
    planned = {kind: ablation.rates_for(kind) if ablation else () for kind in tried}
    return {
        kind: more
        for kind, rates in tried.items()
        if planned[kind] and (more := tuple(rate for rate in rates if rate not in planned[kind]))
    }


def _interactions(
    cells: Sequence[Cell], results: Results, split: Split, resampled: Resampled
) -> tuple[Interaction, ...]:
    """Return the interactions of the sites that an ablation pairs; none in other designs."""
    ablation = results.study.config.ablation
    if ablation is None or ablation.design != "pairs":
        return ()
    # Sites that are not listed are single ones of the base, so cells of one term.
    sites = ablation.sites or [c.settings.subset for c in cells if only_term(c.settings.subset)]
    return interactions([_site_cell(cell, results, split) for cell in cells], sites, resampled)


def _site_cell(cell: Cell, results: Results, split: Split) -> SiteCell:
    """Return what the interactions of sites need of a cell."""
    trials = [t for t in results.stage("ablation") if t.label == cell.label]
    tested = [trial for trial in trials if trial.seed in cell.scores]
    # Without parts, the score is the accuracy on all images.
    names = results.parts or ("score",)
    parts: dict[str, dict[int, float]] = {name: {} for name in names}
    for trial in tested:
        for name in names:
            parts[name][trial.seed] = trial.scores(split).get(name) or 0.0
    counted = images_of(tested[0].confusion)
    images: Counter[str] = Counter()
    for (part, _), number in counted.items():
        images[part if results.parts else "score"] += number
    return SiteCell(
        label=cell.label,
        subset=cell.settings.subset,
        scores=cell.scores,
        parts=parts,
        images=images,
        val_score=_validated(tested[0], results.stage("search")),
    )


def _validated(cell: TrialResult, searched: Sequence[TrialResult]) -> float | None:
    """Return the validation score of a cell at its rates; None where nothing was validated."""
    scores = []
    for trial in searched:
        alike = trial.subset_key == cell.subset_key and trial.settings.rates == cell.settings.rates
        if alike and trial.status == "finished" and trial.val_score is not None:
            scores.append(trial.val_score)
    return max(scores, default=None)


def only_term(subset: str) -> Term | None:
    """Return the only term of a subset that just adds this term, else None."""
    return left_out_term("none", base=subset)


def left_out_term(subset: str, base: str) -> Term | None:
    """Return the term that a subset leaves out, if that is its only difference to the base."""
    terms, base_terms = parse(subset).terms, parse(base).terms
    # To take a term away leaves it out just as not to add it does.
    differences = [(-sign, term) for sign, term in terms if (sign, term) not in base_terms]
    differences += [signed for signed in base_terms if signed not in terms]
    return differences[0][1] if [sign for sign, _ in differences] == [1] else None
