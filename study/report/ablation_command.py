"""The command of an ablation around what a search found."""

import shlex
from math import log10
from statistics import median
from typing import Any

from study.config.labels import TUNED
from study.config.loading import load_config
from study.config.shipped import overrides_between, shipped_file, value_at, wrap_command
from study.errors import ConfigError
from study.results.site_shares import BEST_TRIALS
from study.results.study_results import Results

ABLATION = "ablation"
"""The shipped configuration that the command of an ablation begins with."""
RATE_STEPS = (-2, -1, 0, 1, 2)
"""The learning rates of that ablation, in half powers of ten around those of the best trials."""
_SECTIONS = ("data", "backbone", "training", "resources", "tracking")
"""The sections that an ablation has in common with the search."""
_KEYS = (
    "protocol",
    "seed",
    "storage",
    "confirm.seeds",
    "search.selection",
    "search.metric",
    "search.folds",
    "search.space.sites",
)
"""The keys of other sections that it has in common with the search."""


def ablation_command(results: Results) -> str | None:
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


def _ablation_settings(results: Results) -> dict[str, Any]:
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
        settings["ablation.rates"] = [_from_half_power(middle + step) for step in RATE_STEPS]
    if weights:
        settings["ablation.distill_weight"] = float(f"{weights[0]:.3g}")
    return settings


def _from_half_power(power: int) -> float:
    """Return 1, 3, 10, 30, … or 0.3, 0.1, … by the number of half powers of ten."""
    exponent, half = divmod(power, 2)
    if half:
        return float(f"3e{exponent}")
    return float(f"1e{exponent}")
