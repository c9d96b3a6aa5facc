"""The search space: converts Optuna's choices to settings, and settings back to choices."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, Trial

from study.backbones.architecture import ENCODERS, Depths
from study.config.baselines import PeerConfig
from study.config.search_section import SpaceConfig
from study.config.trial_settings import TrialSettings, rate_column, weighs
from study.method.parameters import PEER, Leaf, kind_names
from study.method.recipe import Regularizer
from study.method.subsets import Subset, in_blocks, kinds, parse

Choices = dict[str, tuple[Any, BaseDistribution]]
"""The value and its distribution, by the name of the Optuna parameter."""
Ranges = dict[str, tuple[float, float]]
"""The lower and the upper end, by the name of the Optuna parameter."""


class Space(ABC):
    """What an arm searches."""

    @property
    @abstractmethod
    def rates(self) -> Ranges:
        """The range of each learning rate, and of λ, which are log-uniform."""

    @abstractmethod
    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """Ask Optuna for one configuration."""

    @abstractmethod
    def encode(self, settings: TrialSettings) -> Choices | None:
        """Return the choices, with their distributions, that lead to these settings.

        None means that the space does not contain them, for example because a site is not listed or
        a rate is out of range.
        """

    @abstractmethod
    def fits(self, choices: Mapping[str, Any]) -> bool:
        """Return whether another study's choices are complete and allowed in this space."""

    def repeat(self, trial: FixedTrial) -> TrialSettings | None:
        """Return the settings of given choices, in or out of their ranges; None if one is missing.

        Raises:
            ValidationError: a value is none that settings may have.
        """
        try:
            # Optuna warns of a number out of its range.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                return self.suggest(trial)
        except ValueError:
            return None


@dataclass(frozen=True)
class OpenSpace(Space):
    """The space of subsets, learning rates and λ.

    It chooses whether each listed site is tuned, a window of layers per encoder, a learning rate
    per kind, and λ. A parameter is asked for only if the earlier choices give it an effect, or
    always if the space is whole; the settings have only what has an effect.
    """

    config: SpaceConfig
    depths: Depths
    regularizer: Regularizer = field(default="cosine", kw_only=True)
    strength: float = field(default=1.0, kw_only=True)
    """The strength of every configuration, which is no choice."""

    @property
    def rates(self) -> Ranges:
        """See `Space.rates`."""
        return {
            **{rate_column(kind): ends for kind, ends in self.config.rates.items()},
            "distill_weight": self.config.distill_weight,
        }

    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """See `Space.suggest`."""
        subset = self._suggest_subset(trial)
        leaves = parse(subset).resolve(self.depths)
        acting = self._ranges_with_effect(leaves)
        ranges = self.rates if self._is_whole else acting
        asked = {name: trial.suggest_float(name, *ends, log=True) for name, ends in ranges.items()}
        values = {name: asked[name] for name in acting}
        values |= {"subset": subset, "head": self._suggest_head(trial)}
        return TrialSettings.of_flat({**values, "strength": self.strength if leaves else 1.0})

    @property
    def _is_whole(self) -> bool:
        return self.config.whole

    def _suggest_head(self, trial: Trial | FixedTrial) -> str:
        heads = self.config.heads
        return trial.suggest_categorical("head", heads) if len(heads) > 1 else heads[0]

    def encode(self, settings: TrialSettings) -> Choices | None:
        """See `Space.encode`."""
        leaves = parse(settings.subset).resolve(self.depths)
        if settings.peer or settings.calibration or (leaves and settings.strength != self.strength):
            return None
        values: dict[str, Any] = settings.flat()
        # What has no effect may have any value, and here the middle of its range.
        idle = self.rates.keys() - self._ranges_with_effect(leaves).keys()
        values |= {name: math.sqrt(math.prod(self.rates[name])) for name in idle}
        for encoder in ENCODERS:
            low, high = self._window(encoder, leaves)
            values |= {f"{encoder}.from": low, f"{encoder}.to": high}
            for site in (site for site in self.config.sites if site.startswith(encoder)):
                values[site] = parse(self._within(site, low, high)).resolve(self.depths) <= leaves
        trial = FixedTrial({name: value for name, value in values.items() if value is not None})
        found = self.repeat(trial)
        if found is None or parse(found.subset).resolve(self.depths) != leaves:
            return None
        if found.head != settings.head:
            return None
        choices = {name: (values[name], kind) for name, kind in trial.distributions.items()}
        inside = (
            getattr(kind, "low", value) <= value <= getattr(kind, "high", value)
            for value, kind in choices.values()
        )
        return choices if all(inside) else None

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """See `Space.fits`."""
        ranges: Ranges = {
            **dict.fromkeys(self.config.sites, (False, True)),
            **{
                f"{e}.{end}": self._layers(e)
                for e in ENCODERS
                if self.config.windows
                for end in ("from", "to")
            },
            **self.rates,
        }
        given = {name: value for name, value in choices.items() if name != "head"}
        return (
            # Of a study without a choice of heads, Optuna chooses one itself.
            choices.get("head", self.config.heads[0]) in self.config.heads
            and set(self.config.sites) <= given.keys() <= ranges.keys()
            and all(ranges[name][0] <= value <= ranges[name][1] for name, value in given.items())
        )

    def neighbours(self, subset: Subset) -> list[dict[str, Any]]:
        """Return the choices of the subsets with one listed site less, or more, than a subset.

        They begin with one less and one more, in turn. Sites are tuned in all layers.
        """
        leaves = subset.resolve(self.depths)
        inside = {site: parse(site).resolve(self.depths) <= leaves for site in self.config.sites}
        less, more = ([site for site in inside if inside[site] is own] for own in (True, False))
        turns = [site for pair in zip_longest(less, more) for site in pair if site is not None]
        windows = {
            f"{e}.{end}": at
            for e in ENCODERS
            for end, at in zip(("from", "to"), self._layers(e), strict=True)
        }
        return [{**inside, site: not inside[site], **windows} for site in turns]

    def _ranges_with_effect(self, leaves: frozenset[Leaf]) -> Ranges:
        """Return the ranges of the rates, and of λ, that have an effect on tuned tensors."""
        names = [rate_column(kind) for kind in kind_names() if kind in kinds(leaves)]
        names += ["distill_weight"] * weighs(leaves, self.regularizer)
        return {name: self.rates[name] for name in names}

    def _suggest_subset(self, trial: Trial | FixedTrial) -> str:
        chosen = [s for s in self.config.sites if trial.suggest_categorical(s, (True, False))]
        terms = []
        for encoder in ENCODERS:
            sites = [site for site in chosen if site.startswith(encoder)]
            low, high = self._layers(encoder)
            if self.config.windows and (self._is_whole or any(map(in_blocks, sites))):
                ends = [trial.suggest_int(f"{encoder}.{end}", low, high) for end in ("from", "to")]
                low, high = sorted(ends)
            terms += [self._within(site, low, high) for site in sites]
        return " + ".join(terms) or "none"

    def _window(self, encoder: str, leaves: frozenset[Leaf]) -> tuple[int, int]:
        """Return the lowest and highest tuned layer of an encoder, both included.

        They span all layers if none is tuned or the space has no windows.
        """
        layers = [x.layer for x in leaves if x.encoder == encoder and x.layer is not None]
        if layers and self.config.windows:
            return min(layers), max(layers)
        return self._layers(encoder)

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
    def _is_whole(self) -> bool:
        return False

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """See `Space.fits`."""
        wanted = self._ranges_with_effect(parse(self.subset).resolve(self.depths))
        return wanted.keys() == choices.keys() and all(
            low <= choices[name] <= high for name, (low, high) in wanted.items()
        )

    def _suggest_subset(self, trial: Trial | FixedTrial) -> str:
        return self.subset

    def _suggest_head(self, trial: Trial | FixedTrial) -> str:
        return "text"


@dataclass(frozen=True)
class PeerSpace(Space):
    """The space of a peer's learning rate; everything else about it is fixed."""

    peer: PeerConfig

    @property
    def rates(self) -> Ranges:
        """See `Space.rates`."""
        return {rate_column(PEER): self.peer.lr}

    def suggest(self, trial: Trial | FixedTrial) -> TrialSettings:
        """See `Space.suggest`."""
        lr = trial.suggest_float(rate_column(PEER), *self.peer.lr, log=True)
        return TrialSettings(subset="none", peer=self.peer.at(lr))

    def encode(self, settings: TrialSettings) -> Choices | None:
        """See `Space.encode`."""
        low, high = self.peer.lr
        if settings.peer is None or not low <= settings.peer.lr <= high:
            return None
        trial = FixedTrial({rate_column(PEER): settings.peer.lr})
        if self.suggest(trial) != settings:
            return None
        return {name: (settings.peer.lr, kind) for name, kind in trial.distributions.items()}

    def fits(self, choices: Mapping[str, Any]) -> bool:
        """See `Space.fits`."""
        return choices.keys() == self.rates.keys() and all(
            low <= choices[name] <= high for name, (low, high) in self.rates.items()
        )
