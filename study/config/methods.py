"""Other methods than tuning a subset of CLIP's parameters, which CLIPFit is compared with.

A further method is a class here, which stands in `Method` and `METHODS`, and a case in
`study.trial.build_model`, which builds its classifier. All but a `FixedMethod` are trained by the
step of `study.method.training`, on the same batches. The fields of a class are its keys in a
configuration; what its paper or its library fixes, and what checks and tables need to know, are its
constants.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, StrictFloat, StrictInt, Tag

from study.backbones.architecture import FAMILIES, Architecture, Family
from study.config.section import Section
from study.config.value_types import RateOrRange
from study.method.parameters import PROJECTION, count_parameters
from study.method.subsets import parse
from study.method.training_options import (
    CLAP_LR,
    MAX_WEIGHT,
    TWO_STAGE_LR,
    WEIGHT_DECAY,
    Optimizer,
    Regularizer,
)


class OtherMethod(Section):
    """Another way to adapt CLIP than by tuning a subset of its parameters."""

    title: ClassVar[str]
    """The name in sentences and tables."""
    families: ClassVar[tuple[Family, ...]] = FAMILIES
    """The families of backbones that can be trained in this way."""
    optimizer: ClassVar[Optimizer] = "adamw"
    weight_decay: ClassVar[float] = WEIGHT_DECAY
    regularizer: ClassVar[Regularizer | None] = None
    """The loss term added to the cross-entropy; None means the study's, with a weight of 0."""
    batch_size: ClassVar[int | None] = None
    """The number of images of a step; None means the study's."""
    epochs: ClassVar[int | None] = None
    """The number of epochs that are reported; None means the study's."""
    steps_per_shot: ClassVar[int | None] = None
    """The number of steps for each training image of a class; None means whole epochs of them."""
    delta: ClassVar[tuple[str, ...] | None] = None
    """The tensors that its delta holds, beside those of a head; None means that it writes none."""
    tunes_matrices: ClassVar[bool] = True
    """Whether matrices of the backbone are tuned, so that they must be stored in float32."""
    passes_encoders: ClassVar[bool] = True
    """Whether a step passes an encoder; others cost nearly nothing."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Further libraries whose versions its results depend on."""

    method: str


class Linear(OtherMethod):
    """A linear classifier on frozen CLIP: the head that `study.method.head` trains."""

    title = "linear classifier"
    passes_encoders = False

    method: Literal["linear"] = "linear"
    """A linear classifier on the image features of the untuned backbone."""


class FixedMethod(OtherMethod):
    """A method that ends in a linear head of its own, with all settings as they were published."""

    rate: ClassVar[float]
    """The learning rate that a training begins with."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values of the backbone are trained, without loading the weights."""
        return 0


class Clap(FixedMethod):
    """CLAP: a linear classifier on frozen CLIP, see `study.method.clap`."""

    title = "CLAP"
    rate = CLAP_LR
    epochs = 0  # over encoders: the head is trained where a trial is evaluated
    delta = ()
    tunes_matrices = False
    passes_encoders = False

    method: Literal["clap"] = "clap"
    """CLAP: a linear classifier on frozen CLIP, regularized towards the text features."""


class TwoStage(FixedMethod):
    """2SFS: all LayerNorms, then a linear classifier, see `study.method.two_stage`."""

    title = "2SFS"
    rate = TWO_STAGE_LR
    weight_decay = 0.01
    regularizer = "none"
    batch_size = 32
    epochs = 10
    steps_per_shot: ClassVar[int] = 300
    tunes_matrices = False

    method: Literal["two_stage"] = "two_stage"
    """2SFS: the LayerNorms of both encoders, then a linear classifier on the tuned encoders."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values of the backbone are trained, without loading the weights."""
        return count_parameters(architecture, parse("ln").resolve(architecture.depths))


class TrainedMethod(OtherMethod):
    """A method that trains parameters by gradient steps, all at one learning rate."""

    lr: RateOrRange
    """The learning rate; a range is searched."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values are trained, without loading the weights."""
        raise NotImplementedError

    @property
    def rate(self) -> float:
        """The fixed learning rate; a ValueError is raised if it is searched."""
        if isinstance(self.lr, tuple):
            raise ValueError(f"lr is {list(self.lr)}; expected one learning rate")
        return self.lr

    @property
    def rates(self) -> tuple[float, float]:
        """The lower and the upper bound of the learning rate."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr, self.lr)


class FullFineTuning(TrainedMethod):
    """Full fine-tuning: every parameter of both encoders."""

    title = "full fine-tuning"

    method: Literal["full"] = "full"
    """Full fine-tuning: every parameter of both encoders."""
    lr: RateOrRange = (1e-6, 1e-3)
    """The learning rate of all parameters; a range is searched."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values are trained, without loading the weights."""
        return architecture.count_all()


class Lora(TrainedMethod):
    """LoRA, by PEFT, in the projections of queries and values of both encoders."""

    title = "LoRA"
    tunes_matrices = False
    libraries = ("peft",)

    method: Literal["lora"] = "lora"
    """LoRA, by PEFT (the optional extra ``lora``)."""
    lr: RateOrRange = (1e-4, 3e-2)
    """The learning rate of LoRA's matrices; a range is searched."""
    rank: StrictInt = Field(4, ge=1, le=4096)
    """The rank of LoRA's matrices."""
    alpha: StrictFloat = Field(8.0, gt=0, le=MAX_WEIGHT)
    """LoRA's α: the product of its matrices is multiplied by α / rank."""
    dropout: StrictFloat = Field(0.0, ge=0, lt=1)
    """The dropout before LoRA's matrices."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values are trained, without loading the weights."""
        adapted = 2  # projections of each block
        shapes = (architecture.text, architecture.vision)
        return sum(shape.depth * adapted * 2 * self.rank * shape.width for shape in shapes)


class Projection(TrainedMethod):
    """ProLIP: the projection of CLIP's image encoder alone, see `study.method.projection`."""

    title = "image projection (ProLIP)"
    families = ("clip",)
    weight_decay = 0.0
    regularizer = "l2_init"
    delta = (PROJECTION,)
    passes_encoders = False

    method: Literal["projection"] = "projection"
    """ProLIP: the projection of CLIP's image encoder alone."""
    lr: RateOrRange = (1e-4, 3e-2)
    """The learning rate of the projection; a range is searched."""
    distance_weight: StrictFloat | None = Field(None, ge=0, le=MAX_WEIGHT)
    """λ of ProLIP, the weight of the squared distance of the projection from its initial values.
    None means 1/N for N training images of a class."""

    def count(self, architecture: Architecture) -> int:
        """Return how many values are trained, without loading the weights."""
        return architecture.dim * architecture.vision.width


METHODS: dict[str, type[OtherMethod]] = {
    "linear": Linear,
    "full": FullFineTuning,
    "lora": Lora,
    "projection": Projection,
    "clap": Clap,
    "two_stage": TwoStage,
}
"""All methods, by name."""


def _tag(entry: Any) -> str:
    """Return the method of a mapping or an object, or None, in brackets; see `find_faults`."""
    if isinstance(entry, Mapping):
        return f"[{entry.get('method')}]"
    return f"[{getattr(entry, 'method', None)}]"


BY_METHOD = Discriminator(
    _tag,
    custom_error_type="method",
    custom_error_message=f"method is unknown; expected one of {', '.join(METHODS)}",
)
"""What chooses the class of an entry with the key ``method``, by its tag."""
TaggedMethod = (
    Annotated[FullFineTuning, Tag("[full]")]
    | Annotated[Lora, Tag("[lora]")]
    | Annotated[Clap, Tag("[clap]")]
    | Annotated[TwoStage, Tag("[two_stage]")]
    | Annotated[Projection, Tag("[projection]")]
)
Method = Annotated[TaggedMethod, BY_METHOD]
"""A method that a trial trains."""


def method_of_delta(tensors: Iterable[str]) -> str | None:
    """Return the name of the method whose delta holds exactly these tensors, if there is one."""
    names = set(tensors)
    for name, method in METHODS.items():
        if method.delta and names == set(method.delta):
            return name
    return None
