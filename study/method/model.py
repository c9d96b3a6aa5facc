"""A model as a few-shot classifier, from prompts and images to predictions."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method.parameters import ParameterTensor, parameter_name
from study.method.subsets import Subset
from study.method.training_options import Precision

if TYPE_CHECKING:
    from transformers import CLIPModel  # takes seconds to import; only loading a model needs it


# Prompts of thousands of classes times dozens of templates do not fit a GPU's memory at once.
PROMPTS_AT_ONCE = 1024


@dataclass(frozen=True)
class TunedParameter:
    """A tuned parameter, with its name and kind."""

    name: str
    """The name in the model's `named_parameters`."""
    kind: str
    """The name of the kind, which decides the learning rate."""
    parameter: nn.Parameter
    is_scaled: bool = True
    """Whether `interpolate` scales its change; of two factors of a product, it scales one."""
    initial: Tensor = field(init=False, repr=False, compare=False)
    """θ₀, a copy of the parameter's value when this object was made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.parameter.detach().clone())


@contextmanager
def interpolate(tuned: Iterable[TunedParameter], alpha: float) -> Iterator[None]:
    """Keep only a share of the tuned change within the block: θ₀ + α(θ − θ₀).

    This is the interpolation of weights of Wortsman et al. (2022, WiSE-FT).

    Args:
        tuned: the tuned parameters, which have their trained values again after the block.
        alpha: α; 1 changes nothing, and 0 gives the untouched model.
    """
    if alpha == 1:
        yield
        return
    scaled = [tuned_parameter for tuned_parameter in tuned if tuned_parameter.is_scaled]
    trained = [tuned_parameter.parameter.detach().clone() for tuned_parameter in scaled]
    with torch.no_grad():
        for tuned_parameter, value in zip(scaled, trained, strict=True):
            tuned_parameter.parameter.copy_(tuned_parameter.initial.lerp(value, alpha))
    try:
        yield
    finally:
        with torch.no_grad():
            for tuned_parameter, value in zip(scaled, trained, strict=True):
                tuned_parameter.parameter.copy_(value)


def tuned_names(model: CLIPModel, subset: Subset) -> dict[str, ParameterTensor]:
    """Return the tensors of a subset by their names in the model's `named_parameters`.

    Raises:
        SubsetError: see `Subset.resolve`; or the model lacks a tensor, because its architecture is
            not that of its family.
    """
    parameters = dict(model.named_parameters())
    text, vision = model.config.text_config, model.config.vision_config
    depths = Depths(text.num_hidden_layers, vision.num_hidden_layers, model.config.model_type)
    tensors = {parameter_name(tensor): tensor for tensor in subset.resolve(depths)}
    missing = sorted(tensors.keys() - parameters)
    if missing:
        name = missing[0]
        nearest = difflib.get_close_matches(name, parameters, n=3, cutoff=0)
        raise SubsetError(
            f"the subset contains {tensors[name]}, but the model has no parameter {name}; "
            f"the most similar are {', '.join(nearest)}"
        )
    return tensors


class Classifier(Protocol):
    """What the training step calls: the version to read, the pass of a trial, or a second stage."""

    @property
    def tuned(self) -> Sequence[TunedParameter]:
        """The tuned parameters."""

    def encode_text(self, prompts: Any, /) -> Tensor:
        """Return unit-length text features, (classes, dim) float32."""

    def encode_image(self, images: Tensor, /) -> Tensor:
        """Return unit-length image features, (batch, dim) float32."""

    def logits(self, image_features: Tensor, text_features: Tensor, /) -> Tensor:
        """Return scaled cosines, (batch, classes) float32."""


class FewShotClassifier(nn.Module):
    """A model as a classifier over a list of prompts, with a few of its own parameters tuned.

    It shares every frozen tensor with the backbone and owns copies of the tuned ones. So many
    classifiers need little more memory than one, and training leaves the backbone unchanged.
    Moving a shared tensor moves it for all: move the backbone to its device before you build one.

    Args:
        backbone: the frozen checkpoint.
        subset: the parameters to tune; none by default.
        precision: the number format that the encoders compute in. Tuned parameters, features and
            losses are float32. bfloat16 has the range of float32, so that no loss is scaled.

    Raises:
        SubsetError: the subset names parameters that the backbone lacks, or that it holds in
            another precision than float32 (`study.method.precision.cast_matrices`).
    """

    def __init__(
        self, backbone: Backbone, subset: Subset | None = None, *, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        tensors = tuned_names(backbone.clip, subset or Subset())
        self.backbone = backbone
        """The frozen checkpoint, which stays unchanged."""
        self.precision = precision
        self.tune({name: tensor.kind for name, tensor in tensors.items()})

    def tune(self, kinds: Mapping[str, str]) -> None:
        """Copy the parameters to tune from the backbone, and share all others with it, frozen.

        Args:
            kinds: the kind of each parameter to tune, by its name in the model's
                `named_parameters`.

        Raises:
            SubsetError: a parameter to tune is neither float32 nor float64.
        """
        untuned = self.backbone.clip
        shared = {
            id(parameter): parameter
            for name, parameter in untuned.named_parameters()
            if name not in kinds
        }
        self.clip = copy.deepcopy(untuned, shared)
        self.tuned = []
        for name, parameter in sorted(self.clip.named_parameters()):
            parameter.requires_grad_(name in kinds)
            if name not in kinds:
                continue
            if parameter.dtype not in (torch.float32, torch.float64):
                raise SubsetError(
                    f"{name} is {parameter.dtype}, which rounds small steps to zero; tune biases "
                    "and LayerNorms, or load the backbone in float32"
                )
            self.tuned.append(TunedParameter(name, kinds[name], parameter))

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        device: torch.device = self.clip.logit_scale.device
        return device

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """Return unit-length text features: (classes, length) int64 to (classes, dim) float32."""
        return self.to_unit_length(self.embed_text(input_ids))

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Return text features at their own lengths: (classes, length) int64 to (classes, dim)."""
        with self.autocast():
            output = self.clip.get_text_features(input_ids=input_ids)
        embeddings: Tensor = output.pooler_output
        return embeddings

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Return unit-length image features: (batch, 3, size, size) to (batch, dim) float32."""
        with self.autocast():
            output = self.clip.get_image_features(pixel_values=pixel_values)
        return self.to_unit_length(output.pooler_output)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Return scaled cosines: (batch, dim) and (classes, dim) to (batch, classes) float32.

        SigLIP's bias, which is one number for all classes, is left out: it cancels in the softmax.
        """
        scale: Tensor = self.clip.logit_scale.exp()
        return scale * image_features @ text_features.T

    def to_unit_length(self, features: Tensor) -> Tensor:
        """Return features at unit length, in the precision of the parameters."""
        in_precision = features.to(self.clip.logit_scale.dtype)
        return F.normalize(in_precision, dim=-1)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which the encoders compute in the classifier's precision."""
        # Some devices warn of a type that they cannot cast to, even where nothing is cast.
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


@torch.no_grad()
def classify(
    classifier: FewShotClassifier,
    features: Iterable[Tensor],
    class_features: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the class that is nearest to each image, its probability, and that of its own class.

    Args:
        classifier: the model, for its logit scale.
        features: batches of image features, (batch, dim) float32, unit length.
        class_features: (classes, dim) float32, unit length.
        labels: the class of each image, (images,) int64, rows of ``class_features``.

    Returns:
        (images,) int64, rows of ``class_features``; and (2, images) float32, the probabilities of
        these and of the labels; both on the CPU.
    """
    rows = [torch.empty(0, dtype=torch.int64)]
    probabilities = [torch.empty(2, 0)]
    start = 0
    for batch in features:
        logits = classifier.logits(batch, class_features)
        rows.append(logits.argmax(dim=-1).cpu())
        softmax = logits.softmax(dim=-1).cpu()
        of_label = softmax.gather(1, labels[start : start + len(batch), None])
        probabilities.append(torch.stack((softmax.amax(dim=-1), of_label.squeeze(1))))
        start += len(batch)
    return torch.cat(rows), torch.cat(probabilities, dim=1)


@torch.no_grad()
def encode_prompts(classifier: FewShotClassifier, input_ids: Tensor, templates: int = 1) -> Tensor:
    """Return the text features of each class, averaged over its templates.

    Features are averaged at unit length and then normalised again.

    Args:
        classifier: the model.
        input_ids: (classes · templates, length) int64; the prompts of one class are adjacent rows.
        templates: the number of prompts of each class.

    Returns:
        (classes, dim) float32, unit length.
    """
    batches = [classifier.encode_text(batch) for batch in input_ids.split(PROMPTS_AT_ONCE)]
    features = torch.cat(batches)
    if templates == 1:
        return features
    by_class = features.unflatten(0, (-1, templates))
    return F.normalize(by_class.mean(dim=1), dim=-1)
