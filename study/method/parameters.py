"""The one table of sites: which of a model's own parameters can be tuned.

A further site is a further row of `SITES`. The subset language, freezing, counting, the search
space, drift and the staged pass read the table whenever they are called. CLIPFit's paper and code
say ``mlp.c_proj`` for ``mlp.fc2``, ``ln_1`` for ``ln1`` and so on.

SigLIP has the blocks of CLIP, and around them sites of its own: its image encoder ends in a pool,
an attention over all tokens with one learned query, and its text encoder in a layer with a bias.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from study.backbones.architecture import ENCODERS, FAMILIES, POOL, Architecture, Encoder, Family
from study.errors import SubsetError


class Kind(NamedTuple):
    """A kind of parameter; each has a learning rate of its own."""

    name: str
    """The name in configurations and in the subset language, where it is a group of sites."""
    short: str
    """The word in column headings: "LN", as in "LN lr"."""
    plural: str
    """The word in sentences: "LayerNorms"."""


BIAS = Kind("bias", "bias", "biases")
"""The biases outside LayerNorms."""
NORM = Kind("ln", "LN", "LayerNorms")
"""The weights and biases of LayerNorms."""
METHOD = "method"
"""The kind of all parameters that another method trains, which have one learning rate."""
PROJECTION = "visual_projection.weight"
"""The matrix that makes image features in a CLIP, which is not a site: another method tunes it."""


@dataclass(frozen=True, eq=False)  # rows are compared by identity, so that hashing is fast
class Site:
    """A row of the table: a module, and its tensors that can be tuned."""

    name: str
    """The name in the subset language, such as ``mlp.fc2``."""
    module: str
    """The path in transformers' encoder or, in the blocks, in a block."""
    stage: Literal["before", "attention", "mlp", "after"] | None
    """The stage of a block or encoder that reads the tensors; None if the staged pass has none."""
    tensors: tuple[str, ...] = ("bias",)
    """The tensors' names in the module. A site of one tensor is written with it."""
    kind: Kind = BIAS
    encoders: tuple[Encoder, ...] = ENCODERS
    """The encoders that have the site."""
    in_blocks: bool = True
    """Whether each block has the site, so that a slice of layers limits it."""
    shape: tuple[Literal["width", "mlp_width", "dim"], ...] = ("width",)
    """The sizes of each tensor, by their names in `study.backbones.architecture.EncoderShape`."""
    families: tuple[Family, ...] = FAMILIES
    """The families whose models have the site."""
    parameter: str | None = None
    """The tensor's name in its module, if the site has one tensor and it has another name there."""

    def has(self, encoder: str, tensor: str) -> bool:
        """Return whether an encoder has the site with this tensor."""
        return encoder in self.encoders and tensor in self.tensors


_NORM_TENSORS = ("weight", "bias")
# The biases of its queries, keys and values are one tensor, which `study.backbones.siglip` splits.
_BIASES = f"{POOL}.parametrizations.in_proj_bias"
_pool = partial(Site, stage="after", encoders=("vision",), in_blocks=False, families=("siglip",))
# The key bias is missing on purpose: it cannot change the model. "pre_layrnorm" is spelt as in
# transformers.
SITES: tuple[Site, ...] = (
    Site("attn.q", "self_attn.q_proj", "attention"),
    Site("attn.v", "self_attn.v_proj", "attention"),
    Site("attn.out", "self_attn.out_proj", "attention"),
    Site("mlp.fc1", "mlp.fc1", "mlp", shape=("mlp_width",)),
    Site("mlp.fc2", "mlp.fc2", "mlp"),
    Site("ln1", "layer_norm1", "attention", _NORM_TENSORS, NORM),
    Site("ln2", "layer_norm2", "mlp", _NORM_TENSORS, NORM),
    Site(
        "ln_pre", "pre_layrnorm", "before", _NORM_TENSORS, NORM, ("vision",), in_blocks=False,
        families=("clip",),
    ),
    Site("ln_post", "post_layernorm", "after", _NORM_TENSORS, NORM, ("vision",), in_blocks=False),
    Site("ln_final", "final_layer_norm", "after", _NORM_TENSORS, NORM, ("text",), in_blocks=False),
    _pool("pool.q", _BIASES, parameter="original0"),
    _pool("pool.v", _BIASES, parameter="original2"),
    _pool("pool.out", f"{POOL}.out_proj"),
    _pool("pool.fc1", "head.mlp.fc1", shape=("mlp_width",)),
    _pool("pool.fc2", "head.mlp.fc2"),
    _pool("pool.ln", "head.layernorm", tensors=_NORM_TENSORS, kind=NORM),
    Site(
        "proj", "head", "after", encoders=("text",), in_blocks=False, shape=("dim",),
        families=("siglip",),
    ),
)  # fmt: skip


class ParameterTensor(NamedTuple):
    """One parameter tensor of a CLIP model."""

    encoder: Encoder
    layer: int | None
    """The index of the block, counted from the input; None outside the blocks."""
    site: str
    """The site without its tensor, such as ``mlp.fc2``, ``ln1`` or ``ln_post``."""
    attribute: str
    """Its name in its module: ``weight`` or ``bias``."""

    @property
    def row(self) -> Site:
        """The row of the table."""
        rows = (row for row in SITES if row.name == self.site)
        return next(row for row in rows if row.has(self.encoder, self.attribute))

    @property
    def kind(self) -> str:
        """The name of the kind, such as ``ln`` for both tensors of a LayerNorm."""
        return self.row.kind.name

    def __str__(self) -> str:
        name = f"{self.encoder}.{self.site}.{self.attribute}"
        if self.layer is None:
            return name
        return f"{name}[{self.layer}]"


_NAME = re.compile(r"(text|vision)_model\.(?:encoder\.layers\.(\d+)\.)?(.+)\.(\w+)")


def list_kinds() -> tuple[Kind, ...]:
    """Return every kind of the table, in the order of its rows."""
    return tuple(dict.fromkeys(row.kind for row in SITES))


def kind_names() -> tuple[str, ...]:
    """Return the name of every kind, in the order of the table's rows."""
    return tuple(kind.name for kind in list_kinds())


def parameter_name(tensor: ParameterTensor) -> str:
    """Return the name of a tensor in the model's `named_parameters`."""
    row = tensor.row
    module = row.module
    if tensor.layer is not None:
        module = f"encoder.layers.{tensor.layer}.{module}"
    return f"{tensor.encoder}_model.{module}.{row.parameter or tensor.attribute}"


def count_parameters(architecture: Architecture, tensors: Iterable[ParameterTensor]) -> int:
    """Return the number of parameters in tensors of a model."""
    count = 0
    for tensor in tensors:
        encoder = getattr(architecture, tensor.encoder)
        count += math.prod(getattr(encoder, size) for size in tensor.row.shape)
    return count


def find_tensor(name: str) -> ParameterTensor:
    """Return the tensor that has a name in a model's `named_parameters`.

    Raises:
        SubsetError: no site of the table has a tensor of this name.
    """
    match = _NAME.fullmatch(name)
    if match:
        encoder, layer, module, parameter = match.groups()
        block = None
        if layer is not None:
            block = int(layer)
        for row in SITES:
            if row.module != module or row.in_blocks != (block is not None):
                continue
            tensor = parameter
            if row.parameter == parameter:
                tensor = row.tensors[0]
            if row.parameter in (None, parameter) and row.has(encoder, tensor):
                return ParameterTensor(encoder, block, row.name, tensor)  # type: ignore[arg-type]
    sites = ", ".join(dict.fromkeys(row.name for row in SITES))
    raise SubsetError(f"'{name}' does not belong to a site; the sites are {sites}")
