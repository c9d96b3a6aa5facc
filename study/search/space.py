"""The search space: converts Optuna's choices to settings, and settings back to choices."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.trial import FixedTrial, Trial

from study.backbones.architecture import ENCODERS, Depths
from study.config.baselines import PeerConfig
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings, rate_column, weight_has_effect
from study.method.parameters import PEER, Leaf, kind_names
from study.method.recipe import Regularizer
from study.method.subsets import is_in_blocks, kinds, parse

Ranges = dict[str, tuple[float, float]]
"""The lower and the upper end, by the name of the Optuna parameter."""


class Space(ABC):
    """What an arm searches."""

    @abstractmethod
    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """Ask Optuna for one configuration."""

    @abstractmethod
    def encode(self, settings: TrialSettings) -> FixedTrial | None:
        """Return a trial whose choices, with their distributions, lead to these settings.

        None means that the space does not contain them, for example because a site is not listed or
        a rate is out of range.
        """

    def decode(
        self, trial: FixedTrial, out_of_range: Literal["error", "ignore"] = "error"
    ) -> TrialSettings | None:
        """Return the settings that choices lead to; None if one is missing or not allowed.

        Args:
            trial: the choices.
            out_of_range: what a number out of its range is; if it is ignored, settings may have it.
        """
        try:
            # Optuna warns of a number out of its range.
            with warnings.catch_warnings(action=out_of_range, category=UserWarning):
                return self.suggest(trial)
        except (UserWarning, ValueError):
            return None


@dataclass(frozen=True)
class OpenSpace(Space):
    """The space of subsets, learning rates and λ.

    It chooses whether each listed site is tuned, a window of layers per encoder, a learning rate
    per kind, and λ. A parameter is asked for only if the earlier choices give it an effect.
    """

    config: SpaceConfig
    depths: Depths
    regularizer: Regularizer = field(default="cosine", kw_only=True)
    strength: float = field(default=1.0, kw_only=True)
    """The strength of every configuration, which is no choice."""

    @property
    def rates(self) -> Ranges:
        """The range of each learning rate, and of λ, which are log-uniform."""
        ranges = {rate_column(kind): ends for kind, ends in self.config.rates.items()}
        ranges["distill_weight"] = self.config.distill_weight
        return ranges

    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """See `Space.suggest`."""
        subset = self._suggest_subset(trial)
        leaves = parse(subset).resolve(self.depths)
        rates = {}
        for name, (low, high) in self._ranges_with_effect(leaves).items():
            rates[name] = trial.suggest_float(name, low, high, log=True)
        strength = self.strength if leaves else 1.0
        return TrialSettings.from_column_values(
            {**rates, "subset": subset, "head": None, "strength": strength}
        )

    def encode(self, settings: TrialSettings) -> FixedTrial | None:
        """See `Space.encode`."""
        leaves = parse(settings.subset).resolve(self.depths)
        if settings.peer or (leaves and settings.strength != self.strength):
            return None
        trial = FixedTrial(self._values_of(settings, leaves))
        decoded = self.decode(trial)
        if not decoded:
            return None
        if parse(decoded.subset).resolve(self.depths) != leaves:
            return None
        return trial

    def _values_of(self, settings: TrialSettings, leaves: frozenset[Leaf]) -> dict[str, Any]:
        """Return the values of the choices that lead to settings.

        A window spans all layers if none is tuned or the space has no windows.
        """
        values = settings.column_values()
        for encoder in ENCODERS:
            layers = [
                leaf.layer for leaf in leaves if leaf.encoder == encoder and leaf.layer is not None
            ]
            low, high = self._layers(encoder)
            if layers and self.config.windows:
                low = min(layers)
                high = max(layers)
            values[f"{encoder}.from"] = low
            values[f"{encoder}.to"] = high
            for site in self.config.sites:
                if site.startswith(encoder):
                    within = parse(self._within(site, low, high))
                    values[site] = within.resolve(self.depths) <= leaves
        return {name: value for name, value in values.items() if value is not None}

    def _ranges_with_effect(self, leaves: frozenset[Leaf]) -> Ranges:
        """Return the ranges of the rates, and of λ, that have an effect on tuned tensors."""
        tuned = kinds(leaves)
        names = [rate_column(kind) for kind in kind_names() if kind in tuned]
        if weight_has_effect(leaves, self.regularizer):
            names.append("distill_weight")
        ranges = self.rates
        return {name: ranges[name] for name in names}

    def _suggest_subset(self, trial: Trial | FixedTrial) -> str:
        tuned = []
        for site in self.config.sites:
            if trial.suggest_categorical(site, (True, False)):
                tuned.append(site)
        terms = []
        for encoder in ENCODERS:
            sites = [site for site in tuned if site.startswith(encoder)]
            low, high = self._layers(encoder)
            if self.config.windows and any(map(is_in_blocks, sites)):
                start = trial.suggest_int(f"{encoder}.from", low, high)
                end = trial.suggest_int(f"{encoder}.to", low, high)
                low = min(start, end)
                high = max(start, end)
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


@dataclass(frozen=True)
class RateSpace(OpenSpace):
    """The space of the learning rates and λ of a fixed subset, in the ranges of the open space."""

    subset: str

    def _suggest_subset(self, trial: Trial | FixedTrial) -> str:
        return self.subset


@dataclass(frozen=True)
class PeerSpace(Space):
    """The space of a peer's learning rate; everything else about it is fixed."""

    peer: PeerConfig

    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """See `Space.suggest`."""
        lr = trial.suggest_float(rate_column(PEER), *self.peer.lr, log=True)
        return TrialSettings(subset="none", peer=self.peer.with_rate(lr))

    def encode(self, settings: TrialSettings) -> FixedTrial | None:
        """See `Space.encode`."""
        if not settings.peer:
            return None
        trial = FixedTrial({rate_column(PEER): settings.peer.lr})
        if self.decode(trial) != settings:
            return None
        return trial
