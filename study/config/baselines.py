"""The baselines of a search: settings that are trained as they are, and peers."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from study.config.labels import LINEAR, ZERO_SHOT
from study.config.trial_settings import (
    Alpha,
    Decay,
    Peer,
    PeerMethod,
    Rank,
    Section,
    TrialSettings,
)
from study.config.value_types import Range
from study.method.parameters import kind_names
from study.method.recipe import DISTILL_WEIGHT, LEARNING_RATE, WEIGHT_DECAY, Optimizer


class PeerConfig(Section):
    """Another way to train than by a subset, and the range of its learning rate.

    It is trained on the cross-entropy alone: λ is 0."""

    peer: PeerMethod
    optimizer: Optimizer
    lr: Range
    """The range of the learning rate of all its parameters."""
    weight_decay: Decay = WEIGHT_DECAY
    """The weight decay of all its parameters."""

    def at(self, lr: float) -> Peer:
        """Return the peer with a learning rate."""
        return Peer(method=self.peer, lr=lr, **self.model_dump(exclude={"peer", "lr"}))


class FullConfig(PeerConfig):
    """Full fine-tuning of both encoders, without CLIP's logit scale."""

    peer: Literal["full"]
    """Full fine-tuning: every parameter of both encoders."""
    optimizer: Optimizer = "adamw"
    """The optimizer of full fine-tuning."""
    lr: Range = (1e-6, 1e-3)
    """The range of the learning rate of all its parameters."""


class LoraConfig(PeerConfig):
    """Low-rank adapters of the query and value projections of both encoders."""

    peer: Literal["lora"]
    """LoRA, by PEFT (the optional extra ``lora``)."""
    optimizer: Optimizer = "adamw"
    """The optimizer of LoRA."""
    lr: Range = (1e-4, 3e-2)
    """The range of the learning rate of LoRA's matrices."""
    rank: Rank = 4
    """The rank of LoRA's matrices."""
    alpha: Alpha = 8.0
    """LoRA's α: the product of its matrices is multiplied by α / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """The dropout before LoRA's matrices."""


BASELINES: dict[str, type[Section]] = {
    "[settings]": TrialSettings,
    "[full]": FullConfig,
    "[lora]": LoraConfig,
}
"""What an entry of ``search.baselines`` may be, by the name that pydantic's faults give to it."""


def baseline_form(value: object) -> str:
    """Return which of `BASELINES` an entry is meant to be."""
    peer = value.get("peer") if isinstance(value, Mapping) else getattr(value, "peer", None)
    return f"[{peer}]" if isinstance(peer, str) else "[settings]"


Baseline = Annotated[
    Annotated[TrialSettings, Tag("[settings]")]
    | Annotated[FullConfig, Tag("[full]")]
    | Annotated[LoraConfig, Tag("[lora]")],
    Discriminator(
        baseline_form,
        custom_error_type="peer",
        custom_error_message="peer is unknown; allowed are full and lora",
    ),
]


def published_baselines() -> dict[str, Baseline]:
    """Return CLIP as it is, without and with a linear head, and CLIPFit and two rivals.

    Those that tune CLIP have the paper's learning rate and λ.
    """
    rates = dict.fromkeys(kind_names(), LEARNING_RATE)
    tuned = {
        subset: TrialSettings(subset=subset, rates=rates, distill_weight=DISTILL_WEIGHT)
        for subset in ("clipfit", "bitfit", "ln")
    }
    linear = TrialSettings(subset="none", head="linear")
    return {ZERO_SHOT: TrialSettings(subset="none"), **tuned, LINEAR: linear}
