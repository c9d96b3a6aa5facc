"""The open search's space: Optuna's choices as settings, and settings as choices."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FixedTrial, Trial

from study.backbones.architecture import ENCODERS, Depths
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings, rate_column, weight_has_effect
from study.method.parameters import ParameterTensor, kind_names
from study.method.subsets import is_in_blocks, kinds, parse
from study.method.training_options import Regularizer

Ranges = Mapping[str, tuple[float, float]]
"""The lower and the upper end of each number, by its name; all are log-uniform."""


@dataclass(frozen=True)
class Space:
    """The space of subsets, learning rates and λ.

    It chooses whether each listed site is tuned, a window of layers per encoder, a learning rate
    per kind, and λ. A number is asked for only if the earlier choices give it an effect.
    """

    config: SpaceConfig
    depths: Depths
    regularizer: Regularizer = "cosine"
    alpha: float = 1.0
    """The α of every configuration that tunes anything, which is not searched."""

    def ranges(self, subset: str) -> Ranges:
        """Return the ranges of the learning rates, and of λ, that have an effect on a subset."""
        tensors = parse(subset).resolve(self.depths)
        tuned = kinds(tensors)
        ranges = {
            rate_column(kind): self.config.rates[kind] for kind in kind_names() if kind in tuned
        }
        if weight_has_effect(tensors, self.regularizer):
            ranges["distill_weight"] = self.config.distill_weight
        return ranges

    def settings(self, subset: str, numbers: Mapping[str, float]) -> TrialSettings:
        """Return the settings of a subset with values of its `ranges`; its head is a result."""
        alpha = self.alpha if parse(subset).resolve(self.depths) else 1.0
        return TrialSettings.from_column_values(
            {**numbers, "subset": subset, "head": None, "alpha": alpha}
        )

    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """Ask Optuna for one configuration."""
        subset = self._suggest_subset(trial)
        numbers = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in self.ranges(subset).items()
        }
        return self.settings(subset, numbers)

    def encode(self, settings: TrialSettings) -> FixedTrial | None:
        """Return a trial whose choices, with their distributions, lead to these settings.

        None means that the space does not contain them, for example because a site is not listed or
        a rate is out of range.
        """
        tensors = parse(settings.subset).resolve(self.depths)
        if settings.method or (tensors and settings.alpha != self.alpha):
            return None
        trial = FixedTrial(self._choices(settings, tensors))
        try:
            # Optuna warns of a number out of its range.
            with warnings.catch_warnings(action="error", category=UserWarning):
                decoded = self.suggest(trial)
        except (UserWarning, ValueError):
            return None
        if parse(decoded.subset).resolve(self.depths) != tensors:
            return None
        return trial

    def _choices(
        self, settings: TrialSettings, tensors: frozenset[ParameterTensor]
    ) -> dict[str, Any]:
        """Return the choices that lead to settings, if they are in the space.

        A window spans all layers if none is tuned or the space has no windows.
        """
        values = settings.column_values()
        for encoder in ENCODERS:
            layers = [
                tensor.layer
                for tensor in tensors
                if tensor.encoder == encoder and tensor.layer is not None
            ]
            low, high = self._layers(encoder)
            if layers and self.config.windows:
                low, high = min(layers), max(layers)
            values[f"{encoder}.from"], values[f"{encoder}.to"] = low, high
            for site in self.config.sites:
                if site.startswith(encoder):
                    within = parse(self._within(site, low, high))
                    values[site] = within.resolve(self.depths) <= tensors
        return {name: value for name, value in values.items() if value is not None}

    def _suggest_subset(self, trial: Trial | FixedTrial) -> str:
        tuned = [
            site for site in self.config.sites if trial.suggest_categorical(site, (True, False))
        ]
        terms = []
        for encoder in ENCODERS:
            sites = [site for site in tuned if site.startswith(encoder)]
            low, high = self._layers(encoder)
            if self.config.windows and any(map(is_in_blocks, sites)):
                start = trial.suggest_int(f"{encoder}.from", low, high)
                end = trial.suggest_int(f"{encoder}.to", low, high)
                low, high = min(start, end), max(start, end)
            terms += [self._within(site, low, high) for site in sites]
        return " + ".join(terms) or "none"

    def _within(self, site: str, low: int, high: int) -> str:
        """Limit a site to a window of layers, unless it lies outside the blocks or keeps all."""
        encoder = site.partition(".")[0]
        if (low, high) == self._layers(encoder) or not is_in_blocks(site):
            return site
        return f"{site}[{low}:{high + 1}]"

    def _layers(self, encoder: str) -> tuple[int, int]:
        """Return the lowest and highest layer of an encoder."""
        return 0, getattr(self.depths, encoder) - 1
