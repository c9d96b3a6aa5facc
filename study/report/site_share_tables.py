"""What mattered in a search: the sites of its best trials against those of all, and the next study.

A search is no experiment, since its trials depend on each other. An ablation is one, so the command
for it stands beside.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from statistics import median
from typing import Any

from study.config.labels import TUNED
from study.config.loading import load_config
from study.config.shipped import in_lines, overrides_between, shipped_file
from study.errors import ConfigError
from study.report.formatting import Table, ends, points
from study.report.site_descriptions import site_in_words, sites_in
from study.results.intervals import Interval
from study.results.statistics import proportion_difference
from study.results.study_results import OPEN, Results, TrialResult

BEST = 10
"""The number of the best trials that are compared with all."""
TRUSTED_TRIALS = 50
"""The fewest finished trials for which the sentences do not warn that there are few."""
ABLATION = "ablation"
"""The shipped configuration that the command of an ablation begins with."""
STEPS = (-2, -1, 0, 1, 2)
"""The learning rates of that ablation, in half powers of ten around those of the best trials."""
_SECTIONS = ("data", "backbone", "training", "resources", "tracking")
_KEYS = (
    *("protocol", "seed", "storage", "confirm.seeds"),
    *("search.selection", "search.folds", "search.space.sites"),
)
"""What an ablation has in common with the search, beside `_SECTIONS`."""


@dataclass(frozen=True)
class SiteShare:
    """How many of the best trials, and of all that finished, tune a site."""

    site: str
    best: int
    """The number of the best trials that tune the site."""
    of_best: int
    """The number of the best trials."""
    every: int
    """The number of all finished trials that tune the site, the best among them."""
    of_every: int
    """The number of all finished trials."""

    @property
    def difference(self) -> float:
        """The share among the best trials less that among all."""
        return self.best / self.of_best - self.every / self.of_every

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference.

        The best are among all, so the interval is that of the best against the others, who have no
        trial in common with them. The difference to all is a fixed part of the difference to those.
        """
        rest = self.of_every - self.of_best
        found = proportion_difference(self.best, self.of_best, self.every - self.best, rest)
        part = rest / self.of_every
        return Interval(part * found.low, part * found.high)

    @property
    def in_words(self) -> str:
        """The site with both shares, in percent, and the interval of their difference."""
        best, every = (
            f"{100 * n / of:.0f} %"
            for n, of in ((self.best, self.of_best), (self.every, self.of_every))
        )
        return (
            f"{self.site} ({best} of the best {self.of_best}, {every} of all: "
            f"{points(self.difference)} points, 95 % interval {ends(self.interval)})"
        )


def ranked_trials(results: Results) -> list[TrialResult]:
    """Return the trials that chose what to tune and ran all their epochs, best first."""
    scored = [
        (trial.val_score, trial)
        for trial in results.stage("search")
        if trial.arm == OPEN and trial.status == "finished" and trial.val_score is not None
    ]
    ranked = sorted(scored, key=lambda pair: (-pair[0], pair[1].trainable, pair[1].number))
    return [trial for _, trial in ranked]


def site_shares(results: Results) -> tuple[SiteShare, ...]:
    """Compare the best trials of the open search with all that finished, site by site.

    Returns:
        A row per site of the search, the largest difference first; none where not more trials
        finished than are called the best.
    """
    tuned = [sites_in(trial.settings.subset) for trial in ranked_trials(results)]
    if len(tuned) <= BEST:
        return ()
    known = results.study.config.search.space.sites
    rows = (
        SiteShare(
            site,
            best=sum(site in held for held in tuned[:BEST]),
            of_best=BEST,
            every=sum(site in held for held in tuned),
            of_every=len(tuned),
        )
        for site in dict.fromkeys((*known, *sorted(set().union(*tuned))))
    )
    return tuple(sorted(rows, key=lambda row: -row.difference))


def share_sentences(results: Results, shares: Sequence[SiteShare]) -> tuple[str, ...]:
    """Return what the comparison says, in words, and what it cannot say."""
    ended = [t for t in results.stage("search") if t.arm == OPEN]
    finished = len(ranked_trials(results))
    stopped = sum(trial.status == "stopped" for trial in ended)
    if not shares:
        return (
            f"Of the search for subsets, {finished} of {len(ended)} trials ran all their epochs. "
            f"That is too few to compare the best {BEST} with the others, so nothing is said of "
            "sites (kinds of parameters).",
        )
    more = [row.in_words for row in shares if row.interval.low > 0]
    less = [row.in_words for row in reversed(shares) if row.interval.high < 0]
    rest = len(shares) - len(more) - len(less)
    few = " With so few trials the intervals are wide." if finished < TRUSTED_TRIALS else ""
    return (
        *(
            [f"More often in the best {BEST} trials than in all: {'; '.join(more)}."]
            if more
            else ()
        ),
        *([f"Less often in the best {BEST} than in all: {'; '.join(less)}."] if less else ()),
        *(
            [
                f"{'For the other' if more or less else 'For all'} {rest} sites the interval "
                f"contains 0: these trials do not tell whether they matter.{few}"
            ]
            if rest
            else ()
        ),
        f"What this shows is what the best {BEST} of the {finished} trials have in common that "
        "chose their sites and ran all their epochs. It cannot show that a site is the cause: the "
        "sampler proposes more of what did well, and a site may be there with a good learning rate "
        "or another site. "
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


def share_table(shares: Sequence[SiteShare]) -> Table:
    """Return the comparison as a table, in percent and in points."""
    of_best, of_every = (shares[0].of_best, shares[0].of_every) if shares else (0, 0)
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
                f"{100 * row.best / row.of_best:.0f}",
                f"{100 * row.every / row.of_every:.0f}",
                points(row.difference),
                ends(row.interval, "[{}, {}]"),
            ]
            for row in shares
        ],
        left=2,
    )


def ablation_command(results: Results) -> str | None:
    """Return the command of an ablation of the same data, backbone and protocol.

    Its learning rates are around those of the search's best trials, and its λ is that of tuned
    CLIPFit, which is its base.

    Returns:
        The command, broken into lines for a shell; None where nothing was searched or the protocol
        has no ablation.
    """
    study, source = results.study, shipped_file(ABLATION)
    config, protocol = study.config, study.protocol()
    if source is None or not (protocol.ablates and protocol.searches(config)):
        return None
    values = config.model_dump(mode="json")
    wanted = {f"{section}.{key}": v for section in _SECTIONS for key, v in values[section].items()}
    for key in _KEYS:
        found: Any = values
        for part in key.split("."):
            found = found[part]
        wanted[key] = found
    wanted |= _ablation_settings(results)
    try:
        overrides = overrides_between(load_config(source), wanted)
    except ConfigError:  # the shipped file was changed
        return None
    return in_lines(["clipfit-study", "run", ABLATION, *map(shlex.quote, overrides)])


def _ablation_settings(results: Results) -> dict[str, Any]:
    """Return rates and λ around those of the best trials; without any, the shipped ones stay."""
    tuned = [
        (trial.val_score or 0.0, trial.settings)
        for trial in results.stage("search")
        if trial.proposed and trial.status == "finished" and trial.settings.rates
    ]
    tuned.sort(key=lambda pair: -pair[0])
    rates = [rate for _, own in tuned[:BEST] for rate in own.rates.values()]
    weights = [c.settings.distill_weight for c in results.candidates if c.label == TUNED]
    found: dict[str, Any] = {}
    if rates:
        middle = round(2 * log10(median(rates)))
        found["ablation.rates"] = [_from_half_power(middle + step) for step in STEPS]
    if weights:
        found["ablation.distill_weight"] = float(f"{weights[0]:.3g}")
    return found


def _from_half_power(power: int) -> float:
    """Return 1, 3, 10, 30, … or 0.3, 0.1, … by the number of half powers of ten."""
    whole, half = divmod(power, 2)
    return float(f"{3 if half else 1}e{whole}")
