"""The parameters of a `CLIPModel` that a subset tunes: names first, then one loop of flags."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from study.errors import SubsetError
from study.method.subsets import Depths, Kind, Leaf, Subset

if TYPE_CHECKING:
    from transformers import CLIPModel

# Short site names to transformers' module names. CLIPFit's paper and code say `mlp.c_proj` for
# mlp.fc2, `ln_1` for ln1 and so on. transformers itself misspells the vision pre-norm.
MODULE_NAMES = {
    "attn.q": "self_attn.q_proj",
    "attn.v": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
    "ln_final": "final_layer_norm",
}


@dataclass(frozen=True)
class TunedParameter:
    """A tuned parameter, with its name and kind."""

    name: str
    """The name in `CLIPModel.named_parameters`."""
    kind: Kind
    """The kind, which decides the learning rate."""
    parameter: nn.Parameter
    initial: Tensor = field(init=False, repr=False, compare=False)
    """θ₀, a copy of the parameter's value when this object was made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.parameter.detach().clone())


def model_depths(model: CLIPModel) -> Depths:
    """Return the number of blocks of each encoder."""
    config = model.config
    return Depths(config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers)


def parameter_name(leaf: Leaf) -> str:
    """Return the name of a leaf in `CLIPModel.named_parameters`."""
    block = "" if leaf.layer is None else f"encoder.layers.{leaf.layer}."
    return f"{leaf.encoder}_model.{block}{MODULE_NAMES[leaf.site]}.{leaf.tensor}"


def name_leaves(leaves: Iterable[Leaf], present: Collection[str]) -> dict[str, Leaf]:
    """Return leaves by their names in `CLIPModel.named_parameters`.

    Args:
        leaves: the leaves to name.
        present: the names of the model's parameters; a leaf must match a whole name.

    Raises:
        SubsetError: the model lacks a leaf, because its architecture is not that of OpenAI's CLIP.
    """
    named = {parameter_name(leaf): leaf for leaf in leaves}
    if missing := sorted(named.keys() - set(present)):
        nearest = difflib.get_close_matches(missing[0], present, n=3, cutoff=0)
        raise SubsetError(
            f"the subset names {named[missing[0]]}, but the model has no parameter {missing[0]}; "
            f"the nearest it has are {', '.join(nearest)}"
        )
    return named


def tuned_names(model: CLIPModel, subset: Subset) -> dict[str, Leaf]:
    """Return the leaves of a subset by their names in `CLIPModel.named_parameters`.

    Raises:
        SubsetError: see `Subset.resolve` and `name_leaves`.
    """
    present = [name for name, _ in model.named_parameters()]
    return name_leaves(subset.resolve(model_depths(model)), present)


def unfreeze(model: CLIPModel, subset: Subset) -> list[TunedParameter]:
    """Freeze the whole model except the subset; return the tuned parameters, sorted by name.

    Raises:
        SubsetError: see `tuned_names`; no flag was changed.
    """
    leaves = tuned_names(model, subset)
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in leaves)
    return [TunedParameter(name, leaves[name].kind, parameters[name]) for name in sorted(leaves)]
