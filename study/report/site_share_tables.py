"""The shares of sites among the best trials of a search, as a table and in sentences.

A search is no experiment, since its trials depend on each other. An ablation is one, so the report
shows the command for it below the table.
"""

from collections.abc import Sequence

from study.report.formatting import Table, format_ends, points
from study.report.sentences import sentences
from study.report.site_descriptions import site_in_words
from study.results.site_shares import BEST_TRIALS, SiteShare, rank_trials
from study.results.study_results import Results
from study.results.trial_results import SEARCH_ARM

TRUSTED_TRIALS = 50
"""The fewest finished trials for which the sentences do not warn that there are few."""


def share_sentences(results: Results, shares: Sequence[SiteShare]) -> list[str]:
    """Return which sites the best trials tune more often than all do, and what that does not show.

    Args:
        results: the results of the study.
        shares: what `site_shares` says of them.
    """
    return sentences(
        "report/site_shares",
        shares=shares,
        trials=[trial for trial in results.stage("search") if trial.arm == SEARCH_ARM],
        finished=len(rank_trials(results)),
        best=BEST_TRIALS,
        trusted=TRUSTED_TRIALS,
        whole_percent=_whole_percent,
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
    header = [
        "site",
        "what it is",
        f"% of the best {BEST_TRIALS}",
        "% of all",
        "Δ points",
        "95 % interval",
    ]
    return Table("", header, rows, left=2)
