"""The table of peers: other ways to adapt CLIP, which CLIPFit is compared with.

A further peer is a further row of `PEERS` and the classifier that it builds. The configuration, the
search, the checks, and the words and colours of tables and charts read the table whenever they need
them. It imports no PyTorch, so that a configuration can be read without it.

All peers are trained by the step of `study.method.training`, on the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from study.backbones.architecture import FAMILIES, Architecture, Family
from study.method.parameters import PROJECTION
from study.method.recipe import MAX_WEIGHT, WEIGHT_DECAY, Optimizer, Precision, Regularizer

if TYPE_CHECKING:  # these import PyTorch
    from study.backbones.backbone import Backbone
    from study.method.peer_model import PeerModel

Numbers = Mapping[str, float | None]
"""The value of each of a peer's numbers, by name."""


class PeerNumber(NamedTuple):
    """A number of a peer other than its learning rate."""

    meaning: str
    """The sentence in the list of keys."""
    default: float | None
    """The value if a configuration sets none."""
    limits: Mapping[str, float]
    """What a value must be: ``ge`` at least, ``gt`` above, ``le`` at most, ``lt`` below."""
    words: str
    """The text after the peer's title, with ``{}`` for a value other than 0 and None."""
    whole: bool = False
    """Whether it is a whole number."""


class PeerStart(NamedTuple):
    """The inputs that the model of a peer is built from."""

    backbone: Backbone
    """The checkpoint, which stays unchanged."""
    numbers: Numbers
    seed: int
    """The seed of all random numbers."""
    precision: Precision
    """See `study.method.model.FewShotClassifier`."""
    shots: float
    """The number of training images of a class, or its mean."""


@dataclass(frozen=True)
class PeerRow:
    """A row of the table."""

    title: str
    """The name in sentences and tables."""
    meaning: str
    """The sentence in the list of keys."""
    trained: str
    """The trained part of the model; it continues "the learning rate of"."""
    color: Literal["pink", "olive", "brown", "violet"]
    """The colour that it has in every chart, see `study.report.charts.COLORS`."""
    rates: tuple[float, float]
    """The range of the learning rate if a configuration sets none."""
    count: Callable[[Architecture, Numbers], int]
    """Return how many values are trained, without loading the weights."""
    build: Callable[[PeerStart], PeerModel]
    """Return the untrained model. It imports PyTorch when it is called."""
    numbers: Mapping[str, PeerNumber] = field(default_factory=dict)
    """Its numbers by name, without the learning rate; a name means the same in every row."""
    optimizer: Optimizer = "adamw"
    """The optimizer where a configuration names none."""
    weight_decay: float = WEIGHT_DECAY
    """The weight decay if a configuration sets none."""
    regularizer: Regularizer | None = None
    """The loss term added to the cross-entropy; None means the study's, with a weight of 0."""
    delta: tuple[str, ...] = ()
    """The tensors that its delta holds; without any it writes none."""
    tunes_matrices: bool = True
    """Whether matrices of the backbone are tuned, so that they must be stored in float32."""
    passes_encoders: bool = True
    """Whether a step passes an encoder; others cost nearly nothing."""
    families: tuple[Family, ...] = FAMILIES
    """The families of backbones that can be trained in this way."""
    libraries: tuple[str, ...] = ()
    """Further libraries whose versions its results depend on."""
    require: Callable[[], object] = lambda: None
    """Raise a `ConfigError` where an optional library is not installed."""


def _build_full(start: PeerStart) -> PeerModel:
    from study.method.full_tuning import FullClassifier
    from study.method.peer_model import PeerModel, PlainPass

    classifier = FullClassifier(start.backbone, precision=start.precision)
    return PeerModel(classifier, PlainPass(classifier))


def _build_lora(start: PeerStart) -> PeerModel:
    import torch

    from study.method.lora import LoraClassifier
    from study.method.peer_model import PeerModel, PlainPass

    generator = torch.Generator().manual_seed(start.seed)
    classifier = LoraClassifier(
        start.backbone,
        **start.numbers,  # type: ignore[arg-type]  # as the configuration has checked
        generator=generator,
        precision=start.precision,
    )
    return PeerModel(classifier, PlainPass(classifier))


def _count_lora(architecture: Architecture, numbers: Numbers) -> int:
    adapted = 2  # projections of each block
    rank = int(numbers["rank"] or 0)
    count = 0
    for shape in (architecture.text, architecture.vision):
        count += shape.depth * adapted * (2 * rank * shape.width)
    return count


def _require_peft() -> object:
    from study.method.lora import import_peft

    return import_peft()


def _build_projection(start: PeerStart) -> PeerModel:
    from study.method.head import VIEWS
    from study.method.peer_model import PeerModel
    from study.method.projection import ProjectionClassifier
    from study.method.staged import StagedClassifier

    classifier = ProjectionClassifier(start.backbone, precision=start.precision)
    weight = start.numbers["distance_weight"]
    if weight is None:
        weight = 1 / start.shots
    return PeerModel(classifier, StagedClassifier(classifier), weight, VIEWS)


PEERS: dict[str, PeerRow] = {
    "full": PeerRow(
        title="full fine-tuning",
        meaning="Full fine-tuning: every parameter of both encoders.",
        trained="all its parameters",
        color="pink",
        rates=(1e-6, 1e-3),
        count=lambda architecture, numbers: architecture.count_all(),
        build=_build_full,
    ),
    "lora": PeerRow(
        title="LoRA",
        meaning="LoRA, by PEFT (the optional extra ``lora``).",
        trained="LoRA's matrices",
        color="olive",
        rates=(1e-4, 3e-2),
        count=_count_lora,
        build=_build_lora,
        numbers={
            "rank": PeerNumber(
                "The rank of LoRA's matrices.", 4, {"ge": 1, "le": 4096}, " of rank {}", whole=True
            ),
            "alpha": PeerNumber(
                "LoRA's α: the product of its matrices is multiplied by α / rank.",
                8.0,
                {"gt": 0, "le": MAX_WEIGHT},
                ", alpha {}",
            ),
            "dropout": PeerNumber(
                "The dropout before LoRA's matrices.", 0.0, {"ge": 0, "lt": 1}, ", dropout {}"
            ),
        },
        tunes_matrices=False,
        libraries=("peft",),
        require=_require_peft,
    ),
    "projection": PeerRow(
        title="image projection (ProLIP)",
        meaning="ProLIP: the projection of CLIP's image encoder alone.",
        trained="the projection",
        color="brown",
        rates=(1e-4, 3e-2),
        count=lambda architecture, numbers: architecture.dim * architecture.vision.width,
        build=_build_projection,
        numbers={
            "distance_weight": PeerNumber(
                "λ of ProLIP, the weight of the squared distance of the projection from its "
                "initial values. None means 1/N for N training images of a class.",
                None,
                {"ge": 0, "le": MAX_WEIGHT},
                ", λ {}",
            )
        },
        weight_decay=0.0,
        regularizer="l2_init",
        delta=(PROJECTION,),
        passes_encoders=False,
        families=("clip",),
    ),
}
"""Every peer, by the name that it has in a configuration."""


def list_peer_numbers() -> dict[str, PeerNumber]:
    """Return the numbers of all rows, by name."""
    numbers: dict[str, PeerNumber] = {}
    for row in PEERS.values():
        numbers.update(row.numbers)
    return numbers


def find_peer(tensors: Iterable[str]) -> str | None:
    """Return the name of the peer whose delta holds exactly these tensors; None if there is none.

    Args:
        tensors: the names of the tensors.
    """
    names = set(tensors)
    for peer, row in PEERS.items():
        if row.delta and names == set(row.delta):
            return peer
    return None
