"""The settings that a study chooses between, and what all sections of a configuration share."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from study.backbones.architecture import Depths
from study.errors import SubsetError
from study.method.parameters import Leaf, kind_names
from study.method.recipe import WEIGHT_DECAY, Optimizer, Regularizer
from study.method.subsets import kinds, parse

VARIABLE = re.compile(r"\$\{\w+[^{}]*\}|(?:^|/)\$[A-Za-z_]\w*")
"""A variable of the environment as a shell has it: ``${NAME}``, or ``$NAME`` as a folder."""
LEADING_ZEROS = re.compile(r"[-+]?0[0-9]")
LONGEST_PATH, LONGEST_NAME = 4000, 255
"""The lengths, in bytes, that file systems allow, less room for the files in a study's folder."""


def _canonical_subset(text: str) -> str:
    try:
        return str(parse(text))
    except SubsetError as error:
        raise ValueError(str(error)) from None


SubsetText = Annotated[str, AfterValidator(_canonical_subset)]
"""A subset in its canonical form."""
# The bounds of numbers are far beyond what is of use, and refuse what was mistyped.
HIGHEST_RATE = 1000
"""The highest learning rate."""
HEAVIEST = 10_000
"""The highest weight of a term of the loss, such as λ, and the highest α of LoRA."""
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=HIGHEST_RATE)]
"""A learning rate."""
Decay = Annotated[float, Field(ge=0, le=100)]
"""A weight decay."""
Rank = Annotated[int, Field(ge=1, le=4096)]
"""A rank of LoRA's matrices."""
Alpha = Annotated[float, Field(gt=0, le=HEAVIEST)]
"""LoRA's α."""


class Section(BaseModel):
    """A section of the configuration; it is frozen, and an unknown key is a fault."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a configuration stays equal when it is written and read
        use_attribute_docstrings=True,  # for the table of keys in configs/README.md
    )

    @field_validator("*", mode="before")
    @classmethod
    def _is_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would take for something else.

        YAML's ``yes`` is true, which Python counts as 1; an empty path would be the working folder.
        """
        kinds = _kinds_of(cls, info.field_name or "")
        if value == "" and Path in kinds:
            raise ValueError("is empty; allowed is the path of a file or folder")
        # No deeper than lists in a mapping: aliases of YAML can make a value endless.
        entries = [inner for entry in _entries(value) for inner in _entries(entry)]
        if not any(isinstance(kind, type) and issubclass(kind, Section) for kind in kinds):
            _refuse_variables(entries)  # a section looks at its own values
        if bool not in kinds and (int in kinds or float in kinds):
            _refuse_unclear_numbers(entries, texts=str in kinds)
        if Path in kinds and isinstance(value, str):
            return expanded(value)
        return value

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


def _refuse_variables(entries: Iterable[Any]) -> None:
    """Raise if a value has a variable of the environment, which nothing would replace."""
    for entry in entries:
        variable = VARIABLE.search(entry) if isinstance(entry, str) else None
        if variable is not None:
            raise ValueError(
                f"has {variable[0].lstrip('/')}, and variables of the environment are not replaced "
                "here; allowed is the value itself"
            )


def _refuse_unclear_numbers(entries: Iterable[Any], *, texts: bool) -> None:
    """Raise if an entry would be taken for a number that is hardly meant.

    Args:
        entries: the entries of a value that is a number, or has some.
        texts: whether the entries may be texts that are no numbers.
    """
    for entry in entries:
        if isinstance(entry, bool):
            raise ValueError("must be a number, which true and false (yes and no) are not")
        if isinstance(entry, str) and not texts and LEADING_ZEROS.match(entry):
            raise ValueError("must be a number without leading zeros")


def expanded(path: str) -> str:
    """Return a path in which ``~`` has become the home folder.

    Raises:
        ValueError: it begins with ``~name``, and there is no user of that name.
    """
    if path.startswith("./~"):  # as a folder of such a name is written, which pathlib would shorten
        return str(Path(path).absolute())
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ValueError(
            f"begins with '{path.partition('/')[0]}', and this machine has no user of that name; "
            f"allowed is ./{path} for a folder of that name"
        ) from None


def _entries(value: Any) -> Iterable[Any]:
    """Return the values in a list or a mapping, or the value itself."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else [value]


@cache
def _kinds_of(section: type[BaseModel], field: str) -> list[Any]:
    return list(_kinds(section.model_fields[field].annotation))


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of."""
    parts = get_args(annotation)
    for part in parts:
        yield from _kinds(part)
    if not parts:
        yield annotation


def _known(kind: str) -> str:
    if kind not in kind_names():
        raise ValueError(f"'{kind}' is no kind of parameter; allowed are {', '.join(kind_names())}")
    return kind


KnownKind = Annotated[str, AfterValidator(_known)]


def rate_column(kind: str) -> str:
    """Return the name that a kind's learning rate has in tables, reports and MLflow."""
    return f"{kind}_lr"


PeerMethod = Literal["full", "lora"]
Head = Literal["text", "linear"]
"""What classifies images: the text features of the classes, or a linear layer that begins there."""
_FINISH = ("head", "head_lr", "head_steps", "strength", "calibration")


def settings_columns() -> tuple[str, ...]:
    """Return the names that `TrialSettings.flat` gives to the values, in their order."""
    return ("subset", *map(rate_column, kind_names()), "distill_weight", *_FINISH, "peer_lr")


class Peer(Section):
    """Another way to train than by a subset, for comparison; its results have no delta."""

    method: PeerMethod
    """Full fine-tuning of both encoders, or low-rank adapters (LoRA) in their attention."""
    lr: Rate
    """The learning rate of all its parameters."""
    optimizer: Optimizer = "adamw"
    """Its optimizer, in place of ``training.optimizer``."""
    weight_decay: Decay = WEIGHT_DECAY
    """Its weight decay, in place of ``training.weight_decay``."""
    rank: Rank = 4
    """The rank of LoRA's matrices; full fine-tuning does not read it, nor the next two."""
    alpha: Alpha = 8.0
    """LoRA's α: the product of its matrices is multiplied by α / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """The dropout before LoRA's matrices."""

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> "Peer":
        for name in ("rank", "alpha", "dropout") if self.method == "full" else ():
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(f"{name} {value} has no effect with method 'full', only 'lora'")
        return self


class TrialSettings(Section):
    """What one training tunes, how fast, and how the result is used.

    Equal settings mean equal results.
    """

    subset: SubsetText
    """The subset, in the language of `study.method.subsets`."""
    rates: dict[KnownKind, Positive] = Field(default_factory=dict)
    """The learning rate of each kind of parameter; that of a baseline is at most 1000."""
    distill_weight: float = Field(0.0, ge=0, le=HEAVIEST)
    """The paper's λ."""
    head: Head = "text"
    """What classifies images, see `study.method.head`."""
    head_lr: Rate | None = None
    """The learning rate of a linear head.

    None means that it and the steps are chosen by validation, from `study.method.head.GRID`, or
    without a search are `study.method.head.DEFAULT`."""
    head_steps: int | None = Field(None, ge=0, le=1_000_000)
    """The number of steps of a linear head; after 0 steps it is the text."""
    strength: float = Field(1.0, ge=0, le=1)
    """α, see ``confirm.strength``."""
    calibration: float = 0.0
    """γ of calibrated stacking: what is taken from the logits of trained classes."""
    peer: Peer | None = None
    """Another way to train than by the subset, which is then ``none``; None means the subset's."""

    def __hash__(self) -> int:
        """Return a hash, which pydantic cannot compute of a mapping."""
        rest = (self.distill_weight, *(getattr(self, name) for name in _FINISH), self.peer)
        return hash((self.subset, frozenset(self.rates.items()), *rest))

    @classmethod
    def of_flat(cls, values: Mapping[str, Any]) -> "TrialSettings":
        """Return the settings of which `flat` gives these values; others are left out.

        A peer is given as a whole.
        """
        rates = {kind: values.get(rate_column(kind)) for kind in kind_names()}
        own = {name: values[name] for name in cls.model_fields if name in values}
        own["rates"] = {kind: rate for kind, rate in rates.items() if rate is not None}
        return cls.model_validate(own)

    def as_reported(self, report: Mapping[str, Any]) -> "TrialSettings":
        """Return the settings with the head that validation chose, as a trial's report has it."""
        chosen = {name: report[name] for name in ("head_lr", "head_steps") if name in report}
        return self.model_copy(update=chosen)

    @model_validator(mode="after")
    def _is_one_method(self) -> "TrialSettings":
        if self.peer is not None and self.subset != "none":
            raise ValueError(f"a peer trains no subset; got {self.subset!r}, allowed is 'none'")
        return self

    @model_validator(mode="after")
    def _trains_a_head_that_is_there(self) -> "TrialSettings":
        lr, steps = self.head_lr, self.head_steps
        if (lr is None) != (steps is None):
            raise ValueError(
                f"head_lr {lr} and head_steps {steps} belong together: give both or neither"
            )
        if lr is not None and self.head != "linear":
            raise ValueError(f"head_lr {lr} has no effect with head {self.head!r}, only 'linear'")
        return self

    @property
    def is_peer(self) -> bool:
        """Whether CLIP is adapted otherwise than by tuning a subset of its parameters."""
        return self.peer is not None or (self.subset == "none" and self.head == "linear")

    @property
    def writes_delta(self) -> bool:
        """Whether a delta holds all that the result is used with.

        It is small beside the backbone, so it has no peer's parameters; nor has it a calibration,
        which has an effect only where trained names compete with others.
        """
        return self.peer is None and not self.calibration

    @property
    def as_trained(self) -> "TrialSettings":
        """The settings of the training, which others share that use its result otherwise."""
        return self.model_copy(
            update={name: type(self).model_fields[name].default for name in _FINISH}
        )

    def effective(self, leaves: Collection[Leaf], regularizer: Regularizer) -> "TrialSettings":
        """Return the settings without those that have no effect on these tuned tensors.

        Args:
            leaves: the tensors of the subset in the study's model.
            regularizer: the loss term that λ weighs.
        """
        tuned = kinds(leaves) & self.rates.keys()
        return TrialSettings(
            subset=self.subset,
            rates={kind: self.rates[kind] for kind in kind_names() if kind in tuned},
            distill_weight=self.distill_weight if weighs(leaves, regularizer) else 0.0,
            strength=self.strength if leaves or self.peer else 1.0,
            calibration=self.calibration,
            peer=self.peer,
            **(
                self.model_dump(include={"head", "head_lr", "head_steps"})
                if self.head == "linear"
                else {}
            ),
        )

    def resolved(self, depths: Depths, regularizer: Regularizer) -> "tuple[str, TrialSettings]":
        """Return what settings of equal results share, however they are written.

        Args:
            depths: the layers of the study's model.
            regularizer: the loss term that λ weighs.

        Returns:
            The key of the subset, and the settings that have an effect, without the subset.
        """
        subset = parse(self.subset)
        own = self.effective(subset.resolve(depths), regularizer)
        return subset.key(depths), own.model_copy(update={"subset": "none"})

    def flat(self) -> dict[str, str | float | None]:
        """Return a value for each of `settings_columns`; None for a rate that there is not.

        A peer has its method for a subset.
        """
        return {
            "subset": self.peer.method if self.peer else self.subset,
            **{rate_column(kind): self.rates.get(kind) for kind in kind_names()},
            "distill_weight": self.distill_weight,
            **{name: getattr(self, name) for name in _FINISH},
            "peer_lr": self.peer.lr if self.peer else None,
        }


def weighs(leaves: Collection[Leaf], regularizer: Regularizer) -> bool:
    """Return whether λ has an effect on a set of tuned tensors.

    The distillation (``cosine``) depends on the text features only.
    """
    if regularizer == "cosine":
        return any(leaf.encoder == "text" for leaf in leaves)
    return regularizer == "l2_init" and bool(leaves)
