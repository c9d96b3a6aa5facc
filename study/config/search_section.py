"""The section ``search``: the space, the baselines, and how trials are scored and stopped."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, StrictFloat, StrictInt, field_validator

from study.backbones.architecture import ENCODERS, FAMILIES, Family
from study.config.baselines import Baseline, fixed_settings, published_baselines
from study.config.methods import OtherMethod, TrainedMethod
from study.config.section import Section
from study.config.trial_settings import HEADS, Head, KnownKind, SubsetText, TrialSettings
from study.config.value_types import Label, ObjectName, Range, Weights
from study.method.parameters import BIAS, NORM, SITES, kind_names

AUTO = "auto"
"""The name that leaves the rule of selection to the protocol."""
TUNED_SHARE = 0.25
"""The share of the trials that tune the learning rates and λ of CLIPFit's own subset."""


def _sites_of(family: Family) -> tuple[str, ...]:
    """Return the sites that a search chooses from: all biases, and all LayerNorms as a whole.

    Those of an attention are one site, and so are those of the pooling of a SigLIP.
    """
    sites = []
    for encoder in ENCODERS:
        rows = [row for row in SITES if encoder in row.encoders and family in row.families]
        for row in rows:
            block, _, _ = row.name.partition(".")
            if row.kind is BIAS:
                sites.append(f"{encoder}.{row.name if block == 'mlp' else block}.bias")
        rows.sort(key=lambda row: row.stage != "before")
        sites += [f"{encoder}.{row.name}" for row in rows if row.kind is NORM]
    return tuple(dict.fromkeys(sites))


SITES_OF: Mapping[str, tuple[str, ...]] = {family: _sites_of(family) for family in FAMILIES}
"""The sites that a search chooses from, by the family of the backbone."""


class SpaceConfig(Section):
    """The space of configurations that the search proposes."""

    sites: tuple[SubsetText, ...] = SITES_OF["clip"]
    """The sites that a trial may tune, without layers: ``windows`` sets those. The default is
    all sites of the backbone."""
    windows: bool = True
    """Whether the range of tuned layers of each encoder is searched too."""
    rates: dict[KnownKind, Range] = Field(default_factory=dict)
    """The range of the learning rate of each kind of parameter; by default 5e-4 to 0.2."""
    distill_weight: Weights = (0.25, 16.0)
    """The range of λ, which has an effect only if the text encoder is tuned."""

    @field_validator("rates")
    @classmethod
    def _add_default_rates(cls, rates: dict[str, Range]) -> dict[str, Range]:
        return {kind: rates.get(kind, (5e-4, 2e-1)) for kind in kind_names()}


class AshaConfig(Section):
    """Asynchronous successive halving (ASHA), counted in epochs."""

    grace_period: StrictInt = Field(3, ge=3, le=100_000)
    """Epochs before the first decision; epoch 0 is the warm-up."""
    reduction_factor: StrictFloat = Field(3, gt=1, le=1000)
    """At each decision, about one in this many trials continues."""


class SearchConfig(Section):
    """How trials are proposed, scored and stopped."""

    trials: StrictInt = Field(48, ge=0, le=100_000)
    """The number of trials: baselines, tuned CLIPFit and the open search.

    0 means no search: the baselines are tested as they are."""
    minutes: StrictFloat | None = Field(None, gt=0, le=1_000_000)
    """The time limit of the search in minutes; None means no limit.

    Baselines are always trained. Test, final model and report take additional time."""
    sampler: ObjectName = "tpe"
    """The sampler that proposes trials: ``tpe``, ``random``, or one of an installed package."""
    selection: ObjectName = AUTO
    """The rule for validation scores; ``auto`` is the protocol's."""
    metric: Literal["auto", "accuracy", "balanced_accuracy"] = "auto"
    """The score on validation and test: ``accuracy`` over images, or its mean over classes
    (``balanced_accuracy``). ``auto`` is ``balanced_accuracy`` if one class has more than twice the
    training images of another, else ``accuracy``."""
    folds: StrictInt | None = Field(None, ge=2, le=1000)
    """The number of folds: of the shots with the rule ``folds`` (None means 4), of the base classes
    with ``class_folds`` (None means 3).

    Other rules have no folds."""
    asha: AshaConfig | None = AshaConfig()
    """When to stop poor trials early; None trains every trial to its last epoch."""
    heads: tuple[Head, ...] = Field(HEADS, min_length=1)
    """What classifies images: ``text``, the text features of the classes, or ``linear``, a linear
    head on image features. Each training is scored with all; validation selects one."""
    space: SpaceConfig = SpaceConfig()
    method_trials: StrictInt = Field(4, ge=1, le=10_000)
    """The trials of each other method whose rate is searched, in addition to ``trials``."""
    baselines: dict[Label, Baseline | None] = Field(default_factory=published_baselines)
    """The baselines by label; all are tested, regardless of their validation scores.

    Entries are added to the defaults, or replace those with the same label; null removes one. An
    entry with ``method`` is another method: ``linear``, ``full``, ``lora``, ``projection``,
    ``clap`` or ``two_stage``."""

    @field_validator("baselines", mode="before")
    @classmethod
    def _add_to_published(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        published = published_baselines().items()
        return {label: entry for label, entry in published if label not in value} | dict(value)

    @property
    def kept_baselines(self) -> dict[str, Baseline]:
        """The baselines by label, without those that null removes."""
        return {label: baseline for label, baseline in self.baselines.items() if baseline}

    @property
    def fixed_baselines(self) -> dict[str, TrialSettings]:
        """The settings of the baselines that are trained as they stand, by label."""
        found = {label: fixed_settings(baseline) for label, baseline in self.kept_baselines.items()}
        return {label: settings for label, settings in found.items() if settings}

    @property
    def other_methods(self) -> dict[str, OtherMethod]:
        """The baselines that tune no subset, by label; they stand outside ``trials``."""
        return {
            label: baseline
            for label, baseline in self.baselines.items()
            if isinstance(baseline, OtherMethod)
        }

    @property
    def searched_methods(self) -> dict[str, TrainedMethod]:
        """The other methods whose learning rate is searched, by label; each is a group."""
        return {
            label: method
            for label, method in self.other_methods.items()
            if isinstance(method, TrainedMethod) and isinstance(method.lr, tuple)
        }

    @property
    def tuned_trials(self) -> int:
        """The number of trials that tune the learning rates and λ of CLIPFit's own subset."""
        return math.ceil(TUNED_SHARE * self.trials)

    @property
    def open_trials(self) -> int:
        """The number of trials that search over subsets, learning rates and λ."""
        return self.trials - self.counted_baselines - self.tuned_trials

    @property
    def counted_baselines(self) -> int:
        """The number of baselines among ``trials``, which other methods stand outside of."""
        return len(self.kept_baselines) - len(self.other_methods)

    @property
    def planned_trials(self) -> int:
        """The number of trials of the search with those of other methods."""
        searched = len(self.searched_methods)
        return self.trials + len(self.other_methods) - searched + self.method_trials * searched
