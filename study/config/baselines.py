"""The baselines of a search: subsets at fixed rates, and other methods."""

from typing import Annotated, Self

from pydantic import Field, StrictFloat, Tag, model_validator

from study.config.labels import LINEAR, ZERO_SHOT
from study.config.methods import BY_METHOD, FixedMethod, Linear, TaggedMethod
from study.config.section import Section
from study.config.trial_settings import KnownKind, SubsetText, TrialSettings
from study.config.value_types import Rate
from study.method.parameters import kind_names
from study.method.subsets import parse
from study.method.training_options import DISTILL_WEIGHT, LEARNING_RATE, MAX_WEIGHT


class SubsetBaseline(Section):
    """A subset that is tuned at fixed learning rates; ``none`` is zero-shot CLIP."""

    subset: SubsetText
    """The subset, such as ``text.mlp.fc2.bias + vision.ln``."""
    rates: dict[KnownKind, Rate] = Field(default_factory=dict)
    """The learning rate of each kind of parameter in the subset."""
    distill_weight: StrictFloat = Field(0.0, ge=0, le=MAX_WEIGHT)
    """The paper's λ."""

    @model_validator(mode="after")
    def _require_rates(self) -> Self:
        tuned: set[str] = set()
        for sign, term in parse(self.subset).terms:
            if sign > 0:
                tuned |= term.kinds
        missing = [kind for kind in kind_names() if kind in tuned - self.rates.keys()]
        if missing:
            raise ValueError(f"'{self.subset}' needs rates for {' and '.join(missing)}")
        return self


Baseline = Annotated[
    Annotated[SubsetBaseline, Tag("[None]")] | Annotated[Linear, Tag("[linear]")] | TaggedMethod,
    BY_METHOD,
]
"""An entry of ``search.baselines``."""


def published_baselines() -> dict[str, Baseline | None]:
    """Return zero-shot CLIP, CLIPFit, BitFit, all LayerNorms, and a linear classifier on CLIP.

    Those that tune CLIP have the paper's learning rate and λ.
    """
    baselines: dict[str, Baseline | None] = {ZERO_SHOT: SubsetBaseline(subset="none")}
    rates = dict.fromkeys(kind_names(), LEARNING_RATE)
    for subset in ("clipfit", "bitfit", "ln"):
        baselines[subset] = SubsetBaseline(
            subset=subset, rates=rates, distill_weight=DISTILL_WEIGHT
        )
    baselines[LINEAR] = Linear()
    return baselines


def fixed_settings(baseline: Baseline) -> TrialSettings | None:
    """Return the settings of a baseline; None if its learning rate is searched."""
    if isinstance(baseline, SubsetBaseline):
        return TrialSettings.model_validate(baseline.model_dump())
    if isinstance(baseline, Linear):
        return TrialSettings(subset="none", head="linear")
    if isinstance(baseline, FixedMethod):
        return TrialSettings(subset="none", head="linear", method=baseline)
    if isinstance(baseline.lr, tuple):
        return None
    return TrialSettings(subset="none", method=baseline)
