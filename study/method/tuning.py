"""The tuned parameters of a `CLIPModel`: names first, then one loop of flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from study.method.parameters import Leaf, name_leaves
from study.method.subsets import Depths, Subset

if TYPE_CHECKING:
    from transformers import CLIPModel


@dataclass(frozen=True)
class TunedParameter:
    """A tuned parameter, with its name and kind."""

    name: str
    """The name in `CLIPModel.named_parameters`."""
    kind: str
    """The name of the kind, which decides the learning rate."""
    parameter: nn.Parameter
    initial: Tensor = field(init=False, repr=False, compare=False)
    """θ₀, a copy of the parameter's value when this object was made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.parameter.detach().clone())


def model_depths(model: CLIPModel) -> Depths:
    """Return the number of blocks of each encoder."""
    config = model.config
    return Depths(config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers)


def tuned_names(model: CLIPModel, subset: Subset) -> dict[str, Leaf]:
    """Return the leaves of a subset by their names in `CLIPModel.named_parameters`.

    Raises:
        SubsetError: see `Subset.resolve` and `name_leaves`.
    """
    return name_leaves(subset.resolve(model_depths(model)), dict(model.named_parameters()))


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
