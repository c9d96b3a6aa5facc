"""The sites of a search's best trials against those of all that finished, site by site."""

from typing import NamedTuple

from study.method.subsets import parse
from study.results.intervals import Interval
from study.results.statistics import proportion_difference
from study.results.study_results import Results
from study.results.trial_results import SEARCH_ARM, TrialResult

BEST_TRIALS = 10
"""The number of the best trials that are compared with all."""


class SiteShare(NamedTuple):
    """How many of the best trials, and of all that finished, tune a site."""

    site: str
    tuned_in_best: int
    """The number of the `BEST_TRIALS` that tune the site."""
    tuned_in_all: int
    """The number of all finished trials that tune the site, the best among them."""
    all_trials: int
    """The number of all finished trials."""

    @property
    def difference(self) -> float:
        """The share among the best trials less that among all."""
        return self.tuned_in_best / BEST_TRIALS - self.tuned_in_all / self.all_trials

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference.

        All trials include the best, so their shares are not independent. The best are therefore
        compared with the other trials. Their difference to all trials is their difference to the
        others, times the share of the others among all.
        """
        others = self.all_trials - BEST_TRIALS
        tuned_in_others = self.tuned_in_all - self.tuned_in_best
        to_others = proportion_difference(self.tuned_in_best, BEST_TRIALS, tuned_in_others, others)
        share = others / self.all_trials
        return Interval(share * to_others.low, share * to_others.high)


def rank_trials(results: Results) -> list[TrialResult]:
    """Return the trials that chose what to tune and ran all their epochs, best first."""
    scored = [
        trial
        for trial in results.stage("search")
        if trial.arm == SEARCH_ARM and trial.status == "finished" and trial.val_score is not None
    ]
    return sorted(scored, key=lambda one: (-(one.val_score or 0.0), one.trainable, one.number))


def site_shares(results: Results) -> list[SiteShare]:
    """Compare the best trials of the open search with all that finished, site by site.

    Returns:
        A row per site of the search, the largest difference first; none unless more trials
        finished than are called the best.
    """
    tuned = [added_sites(trial.settings.subset) for trial in rank_trials(results)]
    if len(tuned) <= BEST_TRIALS:
        return []
    sites = dict.fromkeys(results.config.search.space.sites)
    sites.update(dict.fromkeys(sorted(set().union(*tuned))))
    rows = []
    for site in sites:
        has_site = [site in trial_sites for trial_sites in tuned]
        row = SiteShare(
            site,
            tuned_in_best=sum(has_site[:BEST_TRIALS]),
            tuned_in_all=sum(has_site),
            all_trials=len(tuned),
        )
        rows.append(row)
    return sorted(rows, key=lambda row: -row.difference)


def added_sites(subset: str) -> frozenset[str]:
    """Return the sites and groups that a subset adds, such as ``vision.ln``, without layers."""
    terms = parse(subset).terms
    # Layers are left out, as nearly every window would become a separate parameter.
    return frozenset(f"{term.encoder}.{term.site}" for sign, term in terms if sign > 0)
