"""The search space: converts Optuna's choices to settings, and settings back to choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from study.config.schema import SpaceConfig
from study.config.settings import Settings, rate_column, weighs
from study.method.parameters import ENCODERS, Leaf, kind_names
from study.method.recipe import Regularizer
from study.method.subsets import Depths, in_blocks, kinds, parse

WEIGHT = "distill_weight"
Distribution: TypeAlias = CategoricalDistribution | FloatDistribution | IntDistribution
Choices = dict[str, tuple[Any, Distribution]]
"""The value and its distribution, by the name of the Optuna parameter."""


@dataclass(frozen=True)
class OpenSpace:
    """The space of subsets, learning rates and λ.

    It chooses whether each listed site is tuned, a window of layers per encoder, a learning rate
    per kind, and λ. A parameter is asked for only if the earlier choices give it an effect.
    """

    config: SpaceConfig
    depths: Depths
    regularizer: Regularizer = field(default="cosine", kw_only=True)

    def suggest(self, trial: Trial) -> Settings:
        """Ask Optuna for one configuration."""
        subset = self._suggest_subset(trial)
        rates = self._rates(parse(subset).resolve(self.depths))
        chosen = {n: trial.suggest_float(n, r.low, r.high, log=True) for n, r in rates.items()}
        return Settings.model_validate({"subset": subset, **chosen})

    def encode(self, settings: Settings) -> Choices | None:
        """Return the choices, with their distributions, that lead to these settings.

        None means that the space does not contain them, for example because a site is not listed or
        a rate is out of range.
        """
        leaves = parse(settings.subset).resolve(self.depths)
        choices = self._encode_subset(leaves)
        rates = {name: (settings.flat()[name], rate) for name, rate in self._rates(leaves).items()}
        if choices is None or not all(_contains(rate, value) for value, rate in rates.values()):
            return None
        return choices | rates

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """Return whether another study's choices are complete and allowed in this space."""
        return self._needed <= choices.keys() <= self._known.keys() and all(
            _contains(self._known[name], value) for name, value in choices.items()
        )

    @property
    def _needed(self) -> frozenset[str]:
        """The names of the parameters that every trial has."""
        return frozenset(self.config.sites)

    @cached_property
    def _known(self) -> Mapping[str, Distribution]:
        """The distributions of all parameters."""
        sites = {site: CategoricalDistribution((True, False)) for site in self.config.sites}
        ends = {
            f"{encoder}.{end}": IntDistribution(*self._layers(encoder))
            for encoder in ENCODERS
            for end in ("from", "to")
            if self.config.windows
        }
        return {**sites, **ends, **self._every_rate}

    @cached_property
    def _every_rate(self) -> dict[str, FloatDistribution]:
        """The distributions of the learning rate of each kind, and of λ."""
        ranges = {rate_column(kind): self.config.rates[kind] for kind in kind_names()}
        ranges[WEIGHT] = self.config.distill_weight
        return {name: FloatDistribution(*ends, log=True) for name, ends in ranges.items()}

    def _rates(self, leaves: frozenset[Leaf]) -> dict[str, FloatDistribution]:
        """Return the distributions of the rates, and of λ, that have an effect on tuned tensors."""
        names = [rate_column(kind) for kind in kind_names() if kind in kinds(leaves)]
        names += [WEIGHT] * weighs(leaves, self.regularizer)
        return {name: self._every_rate[name] for name in names}

    def _suggest_subset(self, trial: Trial) -> str:
        chosen = [s for s in self.config.sites if trial.suggest_categorical(s, (True, False))]
        terms = []
        for encoder in ENCODERS:
            sites = [site for site in chosen if site.startswith(encoder)]
            low, high = self._layers(encoder)
            if self.config.windows and any(map(in_blocks, sites)):
                ends = [trial.suggest_int(f"{encoder}.{end}", low, high) for end in ("from", "to")]
                low, high = sorted(ends)
            terms += [self._within(site, low, high) for site in sites]
        return " + ".join(terms) or "none"

    def _encode_subset(self, leaves: frozenset[Leaf]) -> Choices | None:
        windows: dict[str, tuple[int, int]] = {e: self._window(e, leaves) for e in ENCODERS}
        terms = {s: self._within(s, *windows[s.partition(".")[0]]) for s in self.config.sites}
        inside = {s: t for s, t in terms.items() if parse(t).resolve(self.depths) <= leaves}
        if parse(" + ".join(inside.values()) or "none").resolve(self.depths) != leaves:
            return None
        values: dict[str, Any] = {site: site in inside for site in self.config.sites}
        for encoder in ENCODERS:
            tuned = [site for site in inside if site.startswith(encoder)]
            if self.config.windows and any(map(in_blocks, tuned)):
                values[f"{encoder}.from"], values[f"{encoder}.to"] = windows[encoder]
        return {name: (value, self._known[name]) for name, value in values.items()}

    def _window(self, encoder: str, leaves: frozenset[Leaf]) -> tuple[int, int]:
        """Return the lowest and highest tuned layer of an encoder, both included.

        They span all layers if none is tuned or the space has no windows.
        """
        layers = [x.layer for x in leaves if x.encoder == encoder and x.layer is not None]
        tuned = bool(layers) and self.config.windows
        return (min(layers), max(layers)) if tuned else self._layers(encoder)

    def _within(self, site: str, low: int, high: int) -> str:
        """Limit a site to a window of layers, unless it lies outside the blocks or keeps all."""
        all_layers = (low, high) == self._layers(site.partition(".")[0])
        return site if all_layers or not in_blocks(site) else f"{site}[{low}:{high + 1}]"

    def _layers(self, encoder: str) -> tuple[int, int]:
        """Return the lowest and highest layer of an encoder."""
        return 0, getattr(self.depths, encoder) - 1


@dataclass(frozen=True)
class RateSpace(OpenSpace):
    """The space of the learning rates and λ of a fixed subset, in the ranges of the open space."""

    subset: str

    @property
    def _needed(self) -> frozenset[str]:
        return frozenset(self._known)

    @cached_property
    def _known(self) -> Mapping[str, Distribution]:
        return self._rates(parse(self.subset).resolve(self.depths))

    def _suggest_subset(self, trial: Trial) -> str:
        return self.subset

    def _encode_subset(self, leaves: frozenset[Leaf]) -> Choices | None:
        return {} if parse(self.subset).resolve(self.depths) == leaves else None


def _contains(distribution: Distribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return value is not None and bool(distribution.low <= value <= distribution.high)
