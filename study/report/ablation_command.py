"""The command of an ablation around what a search found."""

import shlex
from math import log10
from statistics import median
from typing import Any

from study.config.labels import TUNED
from study.config.loading import load_config
from study.config.shipped import in_lines, overrides_between, shipped_file
from study.errors import ConfigError
from study.results.site_shares import BEST_TRIALS
from study.results.study_results import Results

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
    rates = [rate for _, own in tuned[:BEST_TRIALS] for rate in own.rates.values()]
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
