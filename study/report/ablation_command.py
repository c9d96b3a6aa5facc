"""The command of an ablation around what a search found."""

import shlex
from math import log10
from statistics import median
from typing import Any

from study.config.labels import TUNED
from study.config.loading import load_config
from study.config.shipped import overrides_between, shipped_file, value_at, wrap_command
from study.errors import ConfigError
from study.results.study_result import StudyResult

ABLATION = "ablation"
"""The shipped configuration that the command of an ablation begins with."""
BEST_TRIALS = 10
"""The number of the search's best trials whose learning rates that ablation is around."""
RATE_STEPS = (-2, -1, 0, 1, 2)
"""The learning rates of that ablation, in half powers of ten around those of the best trials."""
_SECTIONS = ("data", "backbone", "training", "resources", "tracking")
"""The sections that an ablation has in common with the search."""
_KEYS = (
    "protocol",
    "seed",
    "storage",
    "test.seeds",
    "search.selection",
    "search.metric",
    "search.folds",
    "search.space.sites",
)
"""The keys of other sections that it has in common with the search."""


def ablation_command(results: StudyResult) -> str | None:
    """Return the command of an ablation of the same data, backbone and protocol.

    Its learning rates are around those of the search's best trials, and its λ is that of tuned
    CLIPFit, which is its base.

    Returns:
        The command, broken into lines for a shell; None where nothing was searched or the protocol
        has no ablation.
    """
    config = results.config
    protocol = results.study.protocol
    source = shipped_file(ABLATION)
    if not source or not (protocol.ablates and protocol.searches(config)):
        return None
    settings = {}
    for section in _SECTIONS:
        for key, value in value_at(config, section).items():
            settings[f"{section}.{key}"] = value
    for key in _KEYS:
        settings[key] = value_at(config, key)
    settings |= _ablation_settings(results)
    try:
        overrides = overrides_between(load_config(source), settings)
    except ConfigError:  # the shipped file was changed
        return None
    return wrap_command(["clipfit-study", "run", ABLATION, *map(shlex.quote, overrides)])


def _ablation_settings(results: StudyResult) -> dict[str, Any]:
    """Return rates and λ around those of the best trials; without any, the shipped ones stay."""
    tuned = [
        trial
        for trial in results.stage("search")
        if trial.proposed and trial.status == "finished" and trial.settings.rates
    ]
    tuned.sort(key=lambda trial: -(trial.val_score or 0.0))
    rates: list[float] = []
    for trial in tuned[:BEST_TRIALS]:
        rates += trial.settings.rates.values()
    weights = [c.settings.distill_weight for c in results.candidates if c.label == TUNED]
    settings: dict[str, Any] = {}
    if rates:
        middle = round(2 * log10(median(rates)))
        # With one digit, 10 to a half power is 3, 30, 0.3, …
        powers = [(middle + step) / 2 for step in RATE_STEPS]
        settings["ablation.rates"] = [float(f"{10**power:.0e}") for power in powers]
    if weights:
        settings["ablation.distill_weight"] = float(f"{weights[0]:.3g}")
    return settings
