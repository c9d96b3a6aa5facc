"""The shares of sites among the best trials of a search, as a table and in sentences.

A search is no experiment, since its trials depend on each other. An ablation is one, so the command
for it stands beside.
"""

from collections.abc import Sequence

from study.report.formatting import Table, format_ends, points
from study.report.site_descriptions import site_in_words
from study.results.site_shares import BEST_TRIALS, SiteShare, rank_trials
from study.results.study_results import SEARCH_ARM, Results

TRUSTED_TRIALS = 50
"""The fewest finished trials for which the sentences do not warn that there are few."""


def share_sentences(results: Results, shares: Sequence[SiteShare]) -> tuple[str, ...]:
    """Return what the comparison says, in words, and what it cannot say."""
    ended = [t for t in results.stage("search") if t.arm == SEARCH_ARM]
    finished = len(rank_trials(results))
    stopped = sum(trial.status == "stopped" for trial in ended)
    if not shares:
        return (
            f"Of the search for subsets, {finished} of {len(ended)} trials ran all their epochs. "
            f"That is too few to compare the best {BEST_TRIALS} with the others, so nothing is "
            "said of sites (kinds of parameters).",
        )
    more = [_in_words(row) for row in shares if row.interval.low > 0]
    less = [_in_words(row) for row in reversed(shares) if row.interval.high < 0]
    rest = len(shares) - len(more) - len(less)
    few = " With so few trials the intervals are wide." if finished < TRUSTED_TRIALS else ""
    return (
        *(
            [f"More often in the best {BEST_TRIALS} trials than in all: {'; '.join(more)}."]
            if more
            else ()
        ),
        *(
            [f"Less often in the best {BEST_TRIALS} than in all: {'; '.join(less)}."]
            if less
            else ()
        ),
        *(
            [
                f"{'For the other' if more or less else 'For all'} {rest} sites the interval "
                f"contains 0: these trials do not tell whether they matter.{few}"
            ]
            if rest
            else ()
        ),
        f"What this shows is what the best {BEST_TRIALS} of the {finished} trials have in common "
        "that chose their sites and ran all their epochs. It cannot show that a site is the cause: "
        "the sampler proposes more of what did well, and a site may be there with a good learning "
        "rate or another site. "
        + (
            f"Left out are {stopped} trials that were stopped early, so sites that learn slowly "
            "are seen less. "
            if stopped
            else ""
        )
        + "The intervals (Newcombe’s, of two shares) suppose trials that do not depend on each "
        "other, and are too narrow for these. Expect about one false finding in 20 intervals; "
        f"here are {len(shares)}.",
    )


def _in_words(row: SiteShare) -> str:
    """Return the site with both shares, in percent, and the interval of their difference."""
    best, every = (
        f"{100 * n / of:.0f} %"
        for n, of in ((row.tuned_in_best, row.best_trials), (row.tuned_in_all, row.all_trials))
    )
    return (
        f"{row.site} ({best} of the best {row.best_trials}, {every} of all: "
        f"{points(row.difference)} points, 95 % interval {format_ends(row.interval)})"
    )


def share_table(shares: Sequence[SiteShare]) -> Table:
    """Return the comparison as a table, in percent and in points."""
    of_best, of_every = (shares[0].best_trials, shares[0].all_trials) if shares else (0, 0)
    return Table(
        "",
        [
            *("site", "what it is", f"of the best {of_best} %", f"of all {of_every} %"),
            *("Δ points", "95 % interval"),
        ],
        [
            [
                row.site,
                site_in_words(row.site),
                f"{100 * row.tuned_in_best / row.best_trials:.0f}",
                f"{100 * row.tuned_in_all / row.all_trials:.0f}",
                points(row.difference),
                format_ends(row.interval, "[{}, {}]"),
            ]
            for row in shares
        ],
        left=2,
    )
