"""Numbers and findings as text, worded the same for terminal, Markdown and report.

Arguments are fractions; texts have scores in percent and differences in percentage points.
"""

from collections.abc import Iterator, Mapping, Sequence

from study.analysis.comparison import (
    PUBLISHED,
    TUNED,
    ZERO_SHOT,
    Comparison,
    Entry,
    Leaderboard,
    below_baselines,
)
from study.analysis.statistics import Estimate, PairedDifference
from study.config.settings import Settings
from study.method.parameters import all_kinds, kind_names

SIGNIFICANCE = 0.05
"""The largest Holm-corrected p that counts as more than noise."""
NAMES = {PUBLISHED: "CLIPFit as published", TUNED: "tuned CLIPFit"}


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, without the percent sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def interval(value: Estimate | None) -> str:
    """Return mean ± half the 95 % interval in percent; a single seed is marked, as it has none."""
    if value is None:
        return "–"
    if value.half_width is None:
        return f"{percent(value.mean)} (1 seed)"
    return f"{percent(value.mean)} ± {percent(value.half_width)}"


def points(value: float) -> str:
    """Return a difference of fractions as signed percentage points."""
    # Adding 0.0 turns -0.0 into 0.0.
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def difference(paired: PairedDifference) -> str:
    """Return the mean difference with its interval, in percentage points."""
    return change(paired.difference, "{} [{}, {}]", "{} (1 seed)")


def spelt(found: Estimate) -> str:
    """Return a mean difference with its interval, in words."""
    form = "{} points (95 % interval {} to {})"
    return change(found, form, "{} points (1 seed, so no interval)")


def change(found: Estimate, form: str, single: str) -> str:
    """Return a mean difference in percentage points.

    Args:
        found: the difference.
        form: a format for the mean and the ends of its interval.
        single: a format for a mean without an interval.
    """
    ends = (
        () if found.low is None or found.high is None else (points(found.low), points(found.high))
    )
    return (form if ends else single).format(points(found.mean), *ends)


def probability(p: float | None) -> str:
    """Return a p value with three decimals, or as “<0.001”."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def rate(value: float | None) -> str:
    """Return a learning rate or loss weight with three significant digits."""
    return "–" if value is None else f"{value:.3g}"


def setting_header() -> tuple[str, ...]:
    """Return the head of the columns of `setting_cells`."""
    return (*(f"{kind.short} lr" for kind in all_kinds()), "λ")


def setting_cells(settings: Settings, trainable: int | None) -> tuple[str, ...]:
    """Return the learning rate of each kind of parameter, and λ."""
    # Without trainable parameters there is no loss to weight.
    weight = rate(settings.distill_weight) if trainable else "–"
    return (*(rate(settings.rates.get(kind)) for kind in kind_names()), weight)


def score_header(parts: Sequence[str], score: str) -> tuple[str, ...]:
    """Return the head of the columns of `score_cells`."""
    return tuple(f"{name} %" for name in (*parts, score))


def score_cells(
    parts: Sequence[str], found: Mapping[str, Estimate], score: Estimate
) -> tuple[str, ...]:
    """Return the parts of a score and the score itself, in percent."""
    return (*(interval(found.get(part)) for part in parts), interval(score))


def comparison_cells(comparison: Comparison | None) -> tuple[str, str]:
    """Return a difference with its interval in percentage points, and its corrected p."""
    if comparison is None:
        return "–", "–"
    return difference(comparison.paired), probability(comparison.holm_p)


def estimate_columns(values: Mapping[str, Estimate | None]) -> dict[str, float | None]:
    """Return the columns that tables for other programs have of each named estimate."""
    return {
        f"{name}_{field}": getattr(value, field, None)
        for name, value in values.items()
        for field in ("mean", "sd", "low", "high")
    }


def comparison_columns(
    name: str, comparison: Comparison | None, prefix: str = ""
) -> dict[str, float | None]:
    """Return the columns of a comparison: a named difference, then p values after a prefix."""
    paired = comparison.paired if comparison else None
    return {
        **estimate_columns({name: paired.difference if paired else None}),
        f"{prefix}p": paired.p if paired else None,
        f"{prefix}holm_p": comparison.holm_p if comparison else None,
    }


def count(value: int | None) -> str:
    """Return a whole number with commas between thousands."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, whichever suits its size."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def judgement(comparison: Comparison) -> str:
    """Return whether a difference is more than noise, in words: by its interval, then Holm's p."""
    if comparison.paired.within_noise:
        return "within noise"
    side = "above" if comparison.paired.difference.mean > 0 else "below"
    if comparison.holm_p is not None and comparison.holm_p > SIGNIFICANCE:
        return f"{side} by its own interval, but not after correction for several comparisons"
    return f"{side}, by more than noise"


def guessing(chance: float | None, zero_shot: Entry | None = None) -> tuple[str, ...]:
    """Return the sentence on chance, beside zero-shot's score; none where chance is unknown."""
    if chance is None:
        return ()
    beside = "" if zero_shot is None else f"; zero-shot scores {interval(zero_shot.test)} %"
    return (f"Always naming the largest class would score {percent(chance)} % (chance){beside}.",)


def verdict(board: Leaderboard) -> tuple[str, ...]:
    """Return what a study found, in sentences that claim no more than the intervals allow."""
    metric = (
        f"harmonic mean of {' and '.join(board.parts)} accuracy" if board.parts else board.metric
    )
    chosen, winner = board.chosen, board.winner
    chance = guessing(board.chance, board.entry(ZERO_SHOT))
    if board.entries and not board.searched:
        tested = ", ".join(f"“{entry.name}” {interval(entry.test)} %" for entry in board.entries)
        mean = f"mean {metric} over the datasets" if board.targets else metric
        return f"Nothing was searched; configurations tested as given, {mean}: {tested}.", *chance
    if chosen is None:
        return "Nothing is confirmed on test yet, so there is no winner to judge.", *chance
    top = board.entries[0]
    ahead = top.above_chance and top.test.mean > chosen.test.mean
    sentences = (
        f"Validation chose “{chosen.name}” ({chosen.settings.subset}): "
        f"{interval(chosen.test)} % {metric} on test over {_seeds(len(chosen.scores))}.",
        *chance,
        *(_judgements(board, winner) if winner else ()),
        ""
        if winner
        else f"The choice does not beat chance ({percent(chosen.test.mean)} % against "
        f"{percent(chosen.chance)} %), so there is no winner.",
        "" if top.above_chance else "Nothing that was tested beats chance.",
        f"“{top.name}” has the highest test mean ({interval(top.test)} %), but validation "
        "did not choose it; taking it now would be selecting on test."
        if ahead
        else "",
    )
    return tuple(filter(None, sentences))


def _judgements(board: Leaderboard, winner: Entry) -> Iterator[str]:
    """Yield sentences that compare the winner with the baselines."""
    if winner.baseline:
        yield "That is a baseline: the search found nothing that validated better."
    compared = set()
    for baseline, comparison in winner.versus.items():
        entry = board.entry(baseline)
        if entry is None:
            named = f"{NAMES[baseline][0].upper()}{NAMES[baseline][1:]}"
            yield f"{named} has no test score, so the winner cannot be compared with it."
        elif comparison is not None and entry.label not in compared:
            compared.add(entry.label)
            yield (
                f"Against {NAMES[baseline]}: {spelt(comparison.paired.difference)}, over "
                f"{_seeds(len(comparison.paired.seeds))} in common, Holm-corrected p "
                f"{probability(comparison.holm_p)}: {judgement(comparison)}."
            )
    for label, paired in below_baselines(board):
        size = "" if paired is None or label in compared else f", {spelt(paired.difference)}"
        noise = "within noise" if paired is None or paired.within_noise else "beyond noise"
        yield f"The winner’s mean is below the baseline “{label}”{size}: {noise}."


def validation_findings(board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how well validation ranked, and what base classes alone would pick."""
    check = board.check
    agreement, regret, pick = check.agreement, check.regret, board.entry(check.base_pick or "")
    if board.entries and not board.searched:
        return ("There was no choice to make, so validation images were not looked at.",)
    sentences = (
        f"Validation against test over {agreement.n} candidates: Spearman’s rho "
        f"{agreement.rho:+.2f} (p {probability(agreement.p)}).".replace("-", "−")
        if agreement
        else "Too few distinct candidates to say how well validation ranked test scores.",
        "The candidate with the best validation score was also best on test."
        if regret and not regret.loss
        else "",
        f"The best candidate by validation, “{regret.picked}”, is {percent(regret.loss)} points "
        f"below the best on test, “{regret.best}” (means over seeds)."
        if regret and regret.loss
        else "",
        f"Among the candidates, base validation alone would have picked “{pick.label}” "
        f"({interval(pick.test)} % on test){' – the same candidate' if pick.chosen else ''}."
        if pick
        else "",
        f"Over the whole search, base validation alone would have picked trial "
        f"{check.base_pick_trial}, which was not confirmed: its test score is unknown."
        if check.base_pick_trial
        else "",
    )
    return tuple(filter(None, sentences))


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"
