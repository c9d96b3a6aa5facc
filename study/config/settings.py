"""The settings that a study chooses between, and what all sections of a configuration share."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from study.errors import SubsetError
from study.method.parameters import Leaf, kind_names
from study.method.recipe import Regularizer
from study.method.subsets import kinds, parse

LONGEST_PATH, LONGEST_NAME = 4000, 255
"""The lengths, in bytes, that file systems allow, less room for the files in a study's folder."""


def _canonical_subset(text: str) -> str:
    try:
        return str(parse(text))
    except SubsetError as error:
        raise ValueError(str(error)) from None


SubsetText = Annotated[str, AfterValidator(_canonical_subset)]
"""A subset in its canonical form."""
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
        use_attribute_docstrings=True,  # for `study.config.reference`
    )

    @field_validator("*")
    @classmethod
    def _exists_on_machines(cls, value: Any) -> Any:
        path = os.fsencode(value) if isinstance(value, Path) else b""
        if isinstance(value, int) and abs(value) >= 2**31:
            raise ValueError("a whole number must be below 2147483648")
        if b"\0" in path or len(path) > LONGEST_PATH:
            raise ValueError(f"a path has at most {LONGEST_PATH} bytes, none of them NUL")
        if any(len(name) > LONGEST_NAME for name in path.split(b"/")):
            raise ValueError(f"a file or folder has a name of at most {LONGEST_NAME} bytes")
        return value


def _known(kind: str) -> str:
    if kind not in kind_names():
        raise ValueError(f"'{kind}' is no kind of parameter; allowed are {', '.join(kind_names())}")
    return kind


KnownKind = Annotated[str, AfterValidator(_known)]


def rate_column(kind: str) -> str:
    """Return the name that a kind's learning rate has in tables, reports and MLflow."""
    return f"{kind}_lr"


def settings_columns() -> tuple[str, ...]:
    """Return the names that `Settings.flat` gives to the values, in their order."""
    return ("subset", *map(rate_column, kind_names()), "distill_weight")


def nested_rates(values: Any) -> Any:
    """Return values with ``bias_lr`` and the like, as in earlier files, moved into ``rates``."""
    given = values if isinstance(values, Mapping) else {}
    flat = {kind: given[name] for kind in kind_names() if (name := rate_column(kind)) in given}
    if not flat or "rates" in values:
        return values
    rest = {name: v for name, v in values.items() if name not in map(rate_column, flat)}
    return {**rest, "rates": {kind: rate for kind, rate in flat.items() if rate is not None}}


class Settings(Section):
    """What one training tunes, and how fast; equal settings mean equal trainings."""

    subset: SubsetText
    """The subset, in the language of `study.method.subsets`."""
    rates: dict[KnownKind, Positive] = Field(default_factory=dict)
    """The learning rate of each kind of parameter."""
    distill_weight: float = Field(0.0, ge=0)
    """The paper's λ."""

    _as_in_earlier_files = model_validator(mode="before")(nested_rates)

    def __hash__(self) -> int:
        """Return a hash, which pydantic cannot compute of a mapping."""
        return hash((self.subset, frozenset(self.rates.items()), self.distill_weight))

    @classmethod
    def as_written(cls, record: Mapping[str, Any]) -> "Settings":
        """Return the settings of a trial's record, unchecked, to show them.

        The record may be of an earlier version, with another subset language.
        """
        values = nested_rates(record.get("settings", record))
        return cls.model_construct(
            subset=values.get("subset") or "none",
            rates=values.get("rates") or {},
            distill_weight=values.get("distill_weight") or 0.0,
        )

    def effective(self, leaves: Collection[Leaf], regularizer: Regularizer) -> "Settings":
        """Return the settings without those that have no effect on these tuned tensors.

        Args:
            leaves: the tensors of the subset in the study's model.
            regularizer: the loss term that λ weighs.
        """
        tuned = kinds(leaves) & self.rates.keys()
        return Settings(
            subset=self.subset,
            rates={kind: self.rates[kind] for kind in kind_names() if kind in tuned},
            distill_weight=self.distill_weight if weighs(leaves, regularizer) else 0.0,
        )

    def flat(self) -> dict[str, str | float | None]:
        """Return a value for each of `settings_columns`; None for a rate that there is not."""
        rates = {rate_column(kind): self.rates.get(kind) for kind in kind_names()}
        return {"subset": self.subset, **rates, "distill_weight": self.distill_weight}


def weighs(leaves: Collection[Leaf], regularizer: Regularizer) -> bool:
    """Return whether λ has an effect on a set of tuned tensors.

    The distillation (``cosine``) depends on the text features only.
    """
    if regularizer == "cosine":
        return any(leaf.encoder == "text" for leaf in leaves)
    return regularizer == "l2_init" and bool(leaves)


class WithSettings(Section):
    """A record that holds settings; earlier files have their fields beside the record's own."""

    settings: Settings

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "settings" in values:
            return values
        own = {"rates", *settings_columns()} & values.keys()
        rest = {name: value for name, value in values.items() if name not in own}
        return {**rest, "settings": {name: values[name] for name in own}}
