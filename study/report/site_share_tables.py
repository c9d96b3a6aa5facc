"""The shares of sites among the best trials of a search, as a table and in sentences.

A search is no experiment, since its trials depend on each other. An ablation is one, so the report
shows the command for it below the table.
"""

from collections.abc import Iterator, Sequence

from study.process.terminal_table import amount
from study.report.formatting import Table, format_ends, points
from study.report.site_descriptions import site_in_words
from study.results.site_shares import BEST_TRIALS, SiteShare, rank_trials
from study.results.study_results import Results
from study.results.trial_results import SEARCH_ARM

TRUSTED_TRIALS = 50
"""The fewest finished trials for which the sentences do not warn that there are few."""


def share_sentences(results: Results, shares: Sequence[SiteShare]) -> Iterator[str]:
    """Yield what the comparison says, in words, and what it cannot say."""
    trials = [trial for trial in results.stage("search") if trial.arm == SEARCH_ARM]
    finished = len(rank_trials(results))
    if not shares:
        yield (
            f"Of the search for subsets, {finished} of {len(trials)} trials ran all their epochs. "
            f"That is too few to compare the best {BEST_TRIALS} with the others, so nothing is "
            "said of sites (kinds of parameters)."
        )
        return
    best = f"the best {BEST_TRIALS}"
    more = [_describe_share(share) for share in shares if share.interval.low > 0]
    less = [_describe_share(share) for share in reversed(shares) if share.interval.high < 0]
    undecided = len(shares) - len(more) - len(less)
    if more:
        yield f"More often in {best} trials than in all: {'; '.join(more)}."
    if less:
        yield f"Less often in {best} than in all: {'; '.join(less)}."
    if undecided:
        sentence = f"Undecided, with 0 in the interval: {amount(undecided, 'site')}."
        if finished < TRUSTED_TRIALS:
            sentence += " With so few trials the intervals are wide."
        yield sentence
    stopped = sum(trial.status == "stopped" for trial in trials)
    yield _describe_limits(len(shares), finished, stopped)


def _describe_limits(sites: int, finished: int, stopped: int) -> str:
    """Return what the comparison cannot show."""
    sentences = [
        f"This shows what the best {BEST_TRIALS} of the {finished} trials that chose their sites "
        "and ran all their epochs have in common. It cannot show that a site is the cause: the "
        "sampler proposes more of what did well, and a site may be there with a good learning rate "
        "or another site."
    ]
    if stopped:
        sentences.append(
            f"Not in it: {amount(stopped, 'trial')} stopped early, so sites that learn slowly are "
            "seen less."
        )
    sentences.append(
        "The intervals (Newcombe’s, of two shares) suppose trials that do not depend on each "
        "other, and are too narrow for these. Expect about one false finding in 20 intervals; "
        f"here are {sites}."
    )
    return " ".join(sentences)


def _describe_share(share: SiteShare) -> str:
    """Return the site with both shares, in percent, and the interval of their difference."""
    best = _whole_percent(share.tuned_in_best, BEST_TRIALS)
    every = _whole_percent(share.tuned_in_all, share.all_trials)
    return (
        f"{share.site} ({best} % of the best {BEST_TRIALS}, {every} % of all: "
        f"{points(share.difference)} points, 95 % interval {format_ends(share.interval)})"
    )


def _whole_percent(trials: int, of_trials: int) -> str:
    return f"{100 * trials / of_trials:.0f}"


def share_table(shares: Sequence[SiteShare]) -> Table:
    """Return the comparison as a table, in percent and in points."""
    rows = [
        [
            share.site,
            site_in_words(share.site),
            _whole_percent(share.tuned_in_best, BEST_TRIALS),
            _whole_percent(share.tuned_in_all, share.all_trials),
            points(share.difference),
            format_ends(share.interval, "[{}, {}]"),
        ]
        for share in shares
    ]
    header = ["site", "what it is", f"% of the best {BEST_TRIALS}", "% of all", "Δ points"]
    header.append("95 % interval")
    return Table("", header, rows, left=2)
