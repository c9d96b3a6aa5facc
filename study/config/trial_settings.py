"""The settings that a study chooses between."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictFloat, model_validator

from study.config.methods import Method
from study.config.section import Section
from study.config.value_types import Positive
from study.method.parameters import ParameterTensor, kind_names
from study.method.subsets import kinds, parse
from study.method.training_options import MAX_WEIGHT, Regularizer

SubsetText = Annotated[str, AfterValidator(lambda text: str(parse(text)))]
"""A subset in its canonical form."""
KnownKind = Annotated[str, Field(pattern=f"^({'|'.join(kind_names())})$")]
"""The name of a kind of parameter."""


def rate_column(kind: str) -> str:
    """Return the name that a kind's learning rate has in tables, reports and MLflow."""
    return f"{kind}_lr"


Head = Literal["text", "linear"]
"""What classifies images: the text features of the classes, or a linear layer that begins there."""
HEADS: tuple[Head, ...] = ("text", "linear")
"""All heads; of equal scores the first wins."""
_USE = ("head", "alpha")


def settings_columns() -> tuple[str, ...]:
    """Return the columns of `TrialSettings.column_values`, in their order."""
    return ("subset", *map(rate_column, kind_names()), "distill_weight", *_USE, "method_lr")


class TrialSettings(Section):
    """What one training tunes, how fast, and how the result is used.

    Equal settings mean equal results.
    """

    subset: SubsetText
    """The subset, in the language of `study.method.subsets`."""
    rates: dict[KnownKind, Positive] = Field(default_factory=dict)
    """The learning rate of each kind of parameter; that of a baseline is at most 1000."""
    distill_weight: StrictFloat = Field(0.0, ge=0, le=MAX_WEIGHT)
    """The paper's λ."""
    head: Head | None = "text"
    """The head that the training is used with; None means the better one by validation, which
    is a result of the trial."""
    alpha: StrictFloat = Field(1.0, ge=0, le=1)
    """α, the share of the tuned change that is kept: θ₀ + α(θ − θ₀)."""
    method: Method | None = None
    """Another way to train than by the subset, which is then ``none``; None means the subset's."""

    def __hash__(self) -> int:
        """Return a hash, which pydantic cannot compute of a mapping."""
        return hash((self.subset, frozenset(self.rates.items()), self.distill_weight, self.method))

    @classmethod
    def from_column_values(cls, values: Mapping[str, Any]) -> "TrialSettings":
        """Return the settings of the values of `column_values`; values of other names are ignored.

        A method must be among the values as a whole, since the columns hold only a part of it.
        """
        fields = {name: values[name] for name in cls.model_fields if name in values}
        rates = {kind: values.get(rate_column(kind)) for kind in kind_names()}
        fields["rates"] = {kind: rate for kind, rate in rates.items() if rate is not None}
        return cls.model_validate(fields)

    def with_reported_head(self, report: Mapping[str, Any]) -> "TrialSettings":
        """Return the settings with the head that a trial's report names, if it names one."""
        return self.model_copy(update={"head": report.get("head", self.head)})

    @model_validator(mode="after")
    def _refuse_subset_of_method(self) -> "TrialSettings":
        if self.method and self.subset != "none":
            raise ValueError(f"subset is {self.subset!r}; with a method, expected 'none'")
        if self.method:
            _ = self.method.rate  # raises for a range
        return self

    @property
    def is_other_method(self) -> bool:
        """Whether CLIP is adapted in another way than by tuning a subset of its parameters."""
        return self.method is not None or (self.subset == "none" and self.head == "linear")

    @property
    def writes_delta(self) -> bool:
        """Whether a delta holds everything that is needed to use the result.

        A delta is to be small, so it does not hold the parameters of most methods.
        """
        return self.method is None or self.method.delta is not None

    def effective(
        self, tensors: Collection[ParameterTensor], regularizer: Regularizer
    ) -> "TrialSettings":
        """Return the settings without those that have no effect on these tuned tensors.

        Args:
            tensors: those of the subset in the study's model.
            regularizer: the loss term that λ weighs.
        """
        tuned = kinds(tensors) & self.rates.keys()
        rates = {kind: self.rates[kind] for kind in kind_names() if kind in tuned}
        effective = TrialSettings(
            subset=self.subset, rates=rates, head=self.head, method=self.method
        )
        changes = {}
        if weight_has_effect(tensors, regularizer):
            changes["distill_weight"] = self.distill_weight
        if tensors or self.method:
            changes["alpha"] = self.alpha
        return effective.model_copy(update=changes)

    def column_values(self) -> dict[str, str | float | None]:
        """Return a value for each of `settings_columns`; None where the settings have no rate.

        Another method has its name in the column of the subset.
        """
        values: dict[str, str | float | None] = dict.fromkeys(settings_columns())
        for name in ("subset", "distill_weight", *_USE):
            values[name] = getattr(self, name)
        for kind, rate in self.rates.items():
            values[rate_column(kind)] = rate
        if self.method:
            values |= {"subset": self.method.method, "method_lr": self.method.rate}
        return values


def weight_has_effect(tensors: Collection[ParameterTensor], regularizer: Regularizer) -> bool:
    """Return whether λ has an effect on a set of tuned tensors.

    The distillation (``cosine``) depends on the text features only.
    """
    if regularizer == "cosine":
        return any(tensor.encoder == "text" for tensor in tensors)
    return regularizer == "l2_init" and bool(tensors)
