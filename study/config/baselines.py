"""The baselines of a search: settings that are trained as they stand, and peers."""

from collections.abc import Mapping
from operator import getitem
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import ConfigDict, Discriminator, Field, Tag, create_model

from study.config.labels import LINEAR, ZERO_SHOT
from study.config.peer_settings import Peer, literal_type, number_field
from study.config.section import Section
from study.config.trial_settings import TrialSettings
from study.config.value_types import Decay, Range
from study.method.parameters import kind_names
from study.method.peers import PEERS, PeerRow
from study.method.recipe import DISTILL_WEIGHT, LEARNING_RATE, Optimizer


class PeerConfig(Section):
    """Another way to train than by a subset, and the range of its learning rate.

    λ, the weight of the paper's distillation, is 0. Each row of `study.method.peers.PEERS` has a
    model of its own.
    """

    # There are none, and to look for them goes through all modules: 0.1 s a peer in a worker.
    model_config = ConfigDict(use_attribute_docstrings=False)

    peer: str
    optimizer: Optimizer
    lr: Range
    weight_decay: Decay

    def with_rate(self, lr: float) -> Peer:
        """Return the peer with a learning rate."""
        return Peer(method=self.peer, lr=lr, **self.model_dump(exclude={"peer", "lr"}))


def _peer_model(name: str, row: PeerRow) -> type[PeerConfig]:
    """Return the model of the entries that ask for a peer."""
    fields: dict[str, Any] = {
        "peer": (literal_type([name]), Field(description=row.meaning)),
        "optimizer": (
            Optimizer,
            Field(row.optimizer, description=f"The optimizer of {row.title}."),
        ),
        "lr": (
            Range,
            Field(row.rates, description=f"The range of the learning rate of {row.trained}."),
        ),
        "weight_decay": (
            Decay,
            Field(row.weight_decay, description=f"The weight decay of {row.trained}."),
        ),
        **{key: number_field(number) for key, number in row.numbers.items()},
    }
    return create_model(f"{name.capitalize()}Config", __base__=PeerConfig, **fields)


SETTINGS = "[settings]"
"""The form of an entry that is trained as it stands."""
BASELINES: dict[str, type[Section]] = {SETTINGS: TrialSettings}
"""The models of the entries of ``search.baselines``, by the names that pydantic's errors have."""
BASELINES |= {f"[{name}]": _peer_model(name, row) for name, row in PEERS.items()}


def baseline_form(value: object) -> str:
    """Return which of `BASELINES` an entry is meant to be."""
    peer = value.get("peer") if isinstance(value, Mapping) else getattr(value, "peer", None)
    if isinstance(peer, str):
        return f"[{peer}]"
    return SETTINGS


if TYPE_CHECKING:
    Baseline = TrialSettings | PeerConfig
else:
    _NAMES = list(PEERS)
    _ALLOWED = f"{', '.join(_NAMES[:-1])} and {_NAMES[-1]}"
    _FORMS = tuple(Annotated[model, Tag(form)] for form, model in BASELINES.items())
    Baseline = Annotated[
        getitem(Union, _FORMS),
        Discriminator(
            baseline_form,
            custom_error_type="peer",
            custom_error_message=f"peer is unknown; allowed are {_ALLOWED}",
        ),
    ]


def published_baselines() -> dict[str, Baseline]:
    """Return zero-shot CLIP, CLIPFit, BitFit, all LayerNorms, and a linear head on CLIP.

    Those that tune CLIP have the paper's learning rate and λ.
    """
    rates = dict.fromkeys(kind_names(), LEARNING_RATE)
    baselines: dict[str, Baseline] = {ZERO_SHOT: TrialSettings(subset="none")}
    for subset in ("clipfit", "bitfit", "ln"):
        baselines[subset] = TrialSettings(subset=subset, rates=rates, distill_weight=DISTILL_WEIGHT)
    baselines[LINEAR] = TrialSettings(subset="none", head="linear")
    return baselines
