"""Numbers as text, in the same form on the terminal, in Markdown and in the report.

Arguments are fractions; texts have scores in percent and differences in percentage points.
"""

from collections.abc import Mapping
from math import isclose

from study.results.statistics import MeanInterval


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, without the percent sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def format_mean(score: MeanInterval | None, unit: str = "") -> str:
    """Return a mean with its 95 % interval in percent.

    The interval is ± half its width, or both ends if they differ by unequal amounts from the mean.
    A single seed has no interval, and is marked.

    Args:
        score: the mean, a fraction.
        unit: what follows the number: " %" in a sentence.
    """
    if score is None:
        return "–"
    mean = percent(score.mean)
    if score.low is None or score.high is None:
        return f"{mean}{unit} {_no_interval(score)}"
    if isclose(score.high - score.mean, score.mean - score.low, abs_tol=1e-12):
        half_width = percent((score.high - score.low) / 2)
        if half_width == "0.0":  # which an interval is not
            half_width = "<0.1"
        return f"{mean} ± {half_width}{unit}"
    return f"{mean}{unit} [{percent(score.low)}, {percent(score.high)}]"


def _no_interval(mean: MeanInterval) -> str:
    return "(1 seed)" if mean.n == 1 else "(no interval)"


def points(value: float) -> str:
    """Return a difference of fractions as percentage points with a sign, unless it rounds to 0."""
    rounded = round(100 * value, 1)
    if rounded == 0:  # -0.0 too, which would have a sign
        return "0.0"
    return f"{rounded:+.1f}".replace("-", "−")


def format_difference(difference: MeanInterval | None) -> str:
    """Return the mean difference with the interval that decides verdicts, in percentage points."""
    if difference is None:
        return "–"
    interval = difference.deciding
    if interval is None:
        return f"{points(difference.mean)} {_no_interval(difference)}"
    return f"{points(difference.mean)} [{points(interval.low)}, {points(interval.high)}]"


def probability(p: float | None) -> str:
    """Return a p value with three decimals, or as “<0.001”."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_rate(value: float | None) -> str:
    """Return a learning rate or a loss weight with three significant digits."""
    return "–" if value is None else f"{value:.3g}"


def interval_columns(means: Mapping[str, MeanInterval | None]) -> dict[str, float | None]:
    """Return what tables for other programs have of each named mean, by column.

    `NAME_low` and `NAME_high` are the ends of its interval.
    """
    columns: dict[str, float | None] = {}
    for name, mean in means.items():
        for field in ("mean", "sd", "low", "high"):
            columns[f"{name}_{field}"] = getattr(mean, field, None)
    return columns


def p_columns(difference: MeanInterval | None, prefix: str = "") -> dict[str, float | None]:
    """Return the p value of a difference, and that after Holm's correction, by column."""
    columns = {"p": "p_value", "holm_p": "holm_p"}
    return {f"{prefix}{name}": getattr(difference, field, None) for name, field in columns.items()}


def format_count(value: int | None) -> str:
    """Return a whole number with commas between thousands."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, whichever suits its size."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
