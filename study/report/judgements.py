"""Scores and differences in words, with how sure they are."""

from study.process.terminal_table import amount
from study.report.formatting import describe_detectable, percent
from study.results.statistics import MeanInterval


def describe_score(score: MeanInterval) -> str:
    """Return a score in percent with its interval and its number of seeds, in words."""
    return f"{percent(score.mean)} % ({interval_and_seeds(score)})"


def interval_and_seeds(score: MeanInterval) -> str:
    """Return the interval of a score, if it has one, and the number of its seeds, in words."""
    if score.low is None:
        return amount(score.n, "seed")
    alone = " over seeds alone" if score.images is None else ""
    ends = f"{percent(score.low)} to {percent(score.high)}"
    return f"95 % interval{alone} {ends}, {amount(score.n, 'seed')}"


def judge(difference: MeanInterval) -> str:
    """Return `judgement`, and the true difference that half of such studies would find."""
    if difference.holm_p is None:
        return judgement(difference)
    return f"{judgement(difference)}; {describe_detectable(difference)}"


def judgement(difference: MeanInterval) -> str:
    """Return whether a difference that was to be tested is more than noise, in words."""
    side = "better" if difference.mean > 0 else "worse"
    words = {
        "not tested": "not tested",
        "not significant": "not significant",
        "uncorrected": (
            f"{side} by its own interval, but not once corrected for the number of tests"
        ),
        "significant": f"significantly {side}",
    }
    return words[difference.finding]
