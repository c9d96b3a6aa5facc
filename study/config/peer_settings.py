"""A peer in a configuration: its row, its learning rate, and the numbers that the row has."""

from collections.abc import Iterable, Mapping
from operator import getitem
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
    model_validator,
)

from study.config.section import Section
from study.config.value_types import Decay, Rate
from study.method.peers import PEERS, PeerNumber, list_peer_numbers
from study.method.recipe import WEIGHT_DECAY, Optimizer


class BasePeer(Section):
    """Another way to train than by a subset, for comparison: a row of `study.method.peers.PEERS`.

    `Peer` has the numbers of all rows as well.
    """

    method: str
    """The name of the row."""
    lr: Rate
    """The learning rate of all its parameters."""
    optimizer: Optimizer = "adamw"
    """Its optimizer, in place of ``training.optimizer``."""
    weight_decay: Decay = WEIGHT_DECAY
    """Its weight decay, in place of ``training.weight_decay``."""

    @model_validator(mode="before")
    @classmethod
    def _add_defaults_of_row(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        row = PEERS.get(str(values.get("method")))
        if not row:
            return values
        return {"optimizer": row.optimizer, "weight_decay": row.weight_decay, **values}

    @model_validator(mode="after")
    def _refuse_numbers_of_other_rows(self) -> "BasePeer":
        allowed = PEERS[self.method].numbers
        for name, number in list_peer_numbers().items():
            value = getattr(self, name)
            if name not in allowed and value != number.default:
                readers = [f"'{method}'" for method, row in PEERS.items() if name in row.numbers]
                raise ValueError(
                    f"{name} {value} has no effect with method '{self.method}', only "
                    f"{', '.join(readers)}"
                )
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the values without the numbers of other rows."""
        of_other_rows = list_peer_numbers().keys() - PEERS[self.method].numbers.keys()
        return {name: value for name, value in serialize(self).items() if name not in of_other_rows}

    @property
    def numbers(self) -> dict[str, float | None]:
        """The value of each number of its row, by name."""
        return {name: getattr(self, name) for name in PEERS[self.method].numbers}


def number_field(number: PeerNumber) -> tuple[Any, Any]:
    """Return the type of a peer's number and its field, for a model that has it."""
    limits: dict[str, Any] = dict(number.limits)
    kind: Any = int if number.whole else float
    if number.default is None:
        kind = kind | None
    return kind, Field(number.default, description=number.meaning, **limits)


def literal_type(names: Iterable[str]) -> Any:
    """Return the type of a text that is one of some names."""
    return getitem(Literal, tuple(names))


_METHODS = ", ".join(f"``{name}`` is {row.title}" for name, row in PEERS.items())
if TYPE_CHECKING:
    Peer = BasePeer
else:
    Peer = create_model(
        "Peer",
        __base__=BasePeer,
        __module__=__name__,
        method=(literal_type(PEERS), Field(description=f"The method: {_METHODS}.")),
        **{name: number_field(number) for name, number in list_peer_numbers().items()},
    )
