"""From a subset to the parameters of a `CLIPModel`: names first, then one loop of flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn
from transformers import CLIPModel

from study.errors import SubsetError
from study.method.subsets import Depths, Kind, Leaf, Subset

# Short site names (which CLIPFit's paper and code call `mlp.c_proj`, `ln_1` ...) to transformers'.
# The vision pre-norm is misspelt in transformers.
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
    """A parameter that is tuned: its name in the model, and which learning rate it follows."""

    name: str
    kind: Kind
    parameter: nn.Parameter


def model_depths(model: CLIPModel) -> Depths:
    """Give the number of blocks of both encoders."""
    config = model.config
    return Depths(config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers)


def parameter_name(leaf: Leaf) -> str:
    """Give the name of a leaf in `CLIPModel.named_parameters`."""
    block = "" if leaf.layer is None else f"encoder.layers.{leaf.layer}."
    return f"{leaf.encoder}_model.{block}{MODULE_NAMES[leaf.site]}.{leaf.tensor}"


def unfreeze(model: CLIPModel, subset: Subset) -> list[TunedParameter]:
    """Freeze the whole model but the subset; give what is tuned, sorted by name.

    Raises:
        SubsetError: a name is not in the model (an architecture that is not OpenAI's CLIP).
    """
    parameters = dict(model.named_parameters())
    leaves = {parameter_name(leaf): leaf for leaf in subset.resolve(model_depths(model))}
    if missing := sorted(leaves.keys() - parameters.keys()):
        raise SubsetError(
            f"'{subset}' names {missing[0]}, which this {type(model).__name__} does not have"
        )
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in leaves)
    return [TunedParameter(name, leaves[name].kind, parameters[name]) for name in sorted(leaves)]


def count_parameters(model: CLIPModel, subset: Subset) -> int:
    """Count the numbers that a subset tunes, leaving the model's flags alone."""
    return count_in_shapes(
        {name: tuple(p.shape) for name, p in model.named_parameters()},
        subset.resolve(model_depths(model)),
    )


def count_in_shapes(shapes: Mapping[str, tuple[int, ...]], leaves: Iterable[Leaf]) -> int:
    """Count the numbers of some leaves, given the one-dimensional shapes of all parameters."""
    return sum(shapes[parameter_name(leaf)][0] for leaf in leaves)
