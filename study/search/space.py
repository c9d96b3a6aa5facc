"""The search space: converts Optuna's choices to settings, and settings back to choices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from study.config.schema import SpaceConfig
from study.config.settings import Settings, rate_column, weighs
from study.method.parameters import ENCODERS, Leaf, kind_names
from study.method.recipe import Regularizer
from study.method.subsets import Depths, in_blocks, kinds, parse

WEIGHT = "distill_weight"
Choices = dict[str, tuple[Any, BaseDistribution]]
"""The value and its distribution, by the name of the Optuna parameter."""


@dataclass(frozen=True)
class OpenSpace:
    """The space of subsets, learning rates and λ.

    It chooses whether each listed site is tuned, a window of layers per encoder, a learning rate
    per kind, and λ. A parameter is asked for only if the earlier choices give it an effect.
    """

    config: SpaceConfig
    depths: Depths
    regularizer: Regularizer = "cosine"

    def suggest(self, trial: Trial) -> Settings:
        """Ask Optuna for one configuration."""
        chosen = [s for s in self.config.sites if _ask(trial, s, self._distribution(s))]
        terms = []
        for encoder in ENCODERS:
            sites = [site for site in chosen if site.startswith(encoder)]
            ends = [0, getattr(self.depths, encoder) - 1]
            if self.config.windows and any(in_blocks(site) for site in sites):
                ends = [
                    _ask(trial, f"{encoder}.{end}", self._distribution(f"{encoder}.{end}"))
                    for end in ("from", "to")
                ]
            terms += [self._within(site, min(ends), max(ends)) for site in sites]
        return _with_rates(trial, " + ".join(terms) or "none", self)

    def encode(self, settings: Settings) -> Choices | None:
        """Return the choices, with their distributions, that lead to these settings.

        None means that the space does not contain them, for example because a site is not listed or
        a rate is out of range.
        """
        wanted = parse(settings.subset).resolve(self.depths)
        windows: dict[str, tuple[int, int]] = {e: self._window(e, wanted) for e in ENCODERS}
        terms = {s: self._within(s, *windows[s.partition(".")[0]]) for s in self.config.sites}
        inside = {s for s, term in terms.items() if parse(term).resolve(self.depths) <= wanted}
        covered = parse(" + ".join(terms[s] for s in inside) or "none").resolve(self.depths)
        if covered != wanted:
            return None
        choices: dict[str, Any] = {site: site in inside for site in self.config.sites}
        for encoder in ENCODERS:
            if self.config.windows and any(
                site.startswith(encoder) and in_blocks(site) for site in inside
            ):
                choices[f"{encoder}.from"], choices[f"{encoder}.to"] = windows[encoder]
        if (rates := _rate_choices(settings, wanted, self)) is None:
            return None
        return {name: (v, self._distribution(name)) for name, v in choices.items()} | rates

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """Return whether another study's choices are complete and allowed in this space."""
        sites = set(self.config.sites)
        ends = {f"{encoder}.{end}" for encoder in ENCODERS for end in ("from", "to")}
        known = sites | (ends if self.config.windows else set()) | rate_ranges(self.config).keys()
        return sites <= choices.keys() <= known and all(
            _contains(self._distribution(name), value) for name, value in choices.items()
        )

    def _window(self, encoder: str, leaves: frozenset[Leaf]) -> tuple[int, int]:
        """Return the lowest and highest tuned layer of an encoder, both included.

        They span all layers if none is tuned or the space has no windows.
        """
        layers = {leaf.layer for leaf in leaves if leaf.encoder == encoder} - {None}
        if not layers or not self.config.windows:
            return 0, getattr(self.depths, encoder) - 1
        return min(layers), max(layers)  # type: ignore[type-var,return-value]

    def _within(self, site: str, low: int, high: int) -> str:
        """Limit a site to a window of layers, unless it lies outside the blocks or keeps all."""
        all_layers = (low, high) == (0, getattr(self.depths, site.partition(".")[0]) - 1)
        return site if all_layers or not in_blocks(site) else f"{site}[{low}:{high + 1}]"

    def _distribution(self, name: str) -> BaseDistribution:
        if name in self.config.sites:
            return CategoricalDistribution((True, False))
        if name.endswith((".from", ".to")):
            return IntDistribution(0, getattr(self.depths, name.partition(".")[0]) - 1)
        return FloatDistribution(*rate_ranges(self.config)[name], log=True)


@dataclass(frozen=True)
class RateSpace:
    """The space of the learning rates and λ of a fixed subset, in the ranges of the open space."""

    config: SpaceConfig
    depths: Depths
    subset: str
    regularizer: Regularizer = "cosine"

    def suggest(self, trial: Trial) -> Settings:
        """Ask Optuna for one configuration."""
        return _with_rates(trial, self.subset, self)

    def encode(self, settings: Settings) -> Choices | None:
        """See `OpenSpace.encode`."""
        leaves = parse(self.subset).resolve(self.depths)
        if parse(settings.subset).resolve(self.depths) != leaves:
            return None
        return _rate_choices(settings, leaves, self)

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """See `OpenSpace.fits`."""
        wanted = _with_effect(self, parse(self.subset).resolve(self.depths))
        return wanted.keys() == choices.keys() and all(
            _contains(wanted[name], value) for name, value in choices.items()
        )


def rate_ranges(config: SpaceConfig) -> dict[str, tuple[float, float]]:
    """Return the ranges of the learning rate of each kind, and of λ, which are log-uniform."""
    return {
        **{rate_column(kind): ends for kind, ends in config.rates.items()},
        WEIGHT: config.distill_weight,
    }


def _with_effect(
    space: OpenSpace | RateSpace, leaves: frozenset[Leaf]
) -> dict[str, FloatDistribution]:
    """Return the distributions of the rates, and of λ, that have an effect on tuned tensors."""
    every, tuned = rate_ranges(space.config), kinds(leaves)
    names = [rate_column(kind) for kind in kind_names() if kind in tuned]
    names += [WEIGHT] * weighs(leaves, space.regularizer)
    return {name: FloatDistribution(*every[name], log=True) for name in names}


def _with_rates(trial: Trial, subset: str, space: OpenSpace | RateSpace) -> Settings:
    rates = _with_effect(space, parse(subset).resolve(space.depths))
    chosen = {name: _ask(trial, name, distribution) for name, distribution in rates.items()}
    return Settings.model_validate({"subset": subset, **chosen})


def _rate_choices(
    settings: Settings, leaves: frozenset[Leaf], space: OpenSpace | RateSpace
) -> Choices | None:
    choices: Choices = {}
    values: dict[str, Any] = settings.flat()
    for name, distribution in _with_effect(space, leaves).items():
        if values[name] is None or not _contains(distribution, values[name]):
            return None
        choices[name] = (values[name], distribution)
    return choices


def _ask(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    raise TypeError(f"no way to ask for {distribution}")


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return bool(distribution.low <= value <= distribution.high)
    return isinstance(distribution, CategoricalDistribution) and value in distribution.choices
