"""A few-shot classifier around a model: prompts to text features, images to predictions."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.backbones.architecture import Depths
from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method.parameters import Leaf, parameter_name
from study.method.recipe import Precision
from study.method.subsets import Subset

if TYPE_CHECKING:
    from transformers import CLIPModel  # takes seconds to import; only loading a model needs it


PromptsT = TypeVar("PromptsT", contravariant=True)
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
    """Whether `at_strength` scales its change; of two factors of a product, it scales one."""
    initial: Tensor = field(init=False, repr=False, compare=False)
    """θ₀, a copy of the parameter's value when this object was made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.parameter.detach().clone())


@contextmanager
def at_strength(tuned: Iterable[TunedParameter], strength: float) -> Iterator[None]:
    """Keep only a share of the tuned change within the block: θ₀ + α(θ − θ₀).

    This is the interpolation of weights of Wortsman et al. (2022, WiSE-FT).

    Args:
        tuned: the tuned parameters, which have their trained values again after the block.
        strength: α; 1 changes nothing, and 0 gives the untouched model.
    """
    changed = [] if strength == 1 else [t for t in tuned if t.is_scaled]
    trained = [(one, one.parameter.detach().clone()) for one in changed]
    with torch.no_grad():
        for one, value in trained:
            one.parameter.copy_(one.initial.lerp(value, strength))
    try:
        yield
    finally:
        with torch.no_grad():
            for one, value in trained:
                one.parameter.copy_(value)


class Classifier(Protocol[PromptsT]):
    """What the training step and the evaluation call.

    `FewShotClassifier` is the version to read; it takes token ids and pixels. Trials take
    `study.method.staged.StagedClassifier`, whose prompts and images have passed frozen stages.
    """

    @property
    def tuned(self) -> Sequence[TunedParameter]:
        """The tuned parameters."""

    def encode_text(self, prompts: PromptsT, /) -> Tensor:
        """Return unit-length text features, (classes, dim) float32."""

    def encode_image(self, images: Tensor, /) -> Tensor:
        """Return unit-length image features, (batch, dim) float32."""

    def logits(self, image_features: Tensor, text_features: Tensor, /) -> Tensor:
        """Return scaled cosines, (batch, classes) float32."""


def model_depths(model: CLIPModel) -> Depths:
    """Return the number of blocks of each encoder, with the family."""
    text, vision = model.config.text_config, model.config.vision_config
    return Depths(text.num_hidden_layers, vision.num_hidden_layers, model.config.model_type)


def tuned_names(model: CLIPModel, subset: Subset) -> dict[str, Leaf]:
    """Return the leaves of a subset by their names in the model's `named_parameters`.

    Raises:
        SubsetError: see `Subset.resolve`; or the model lacks a leaf, because its architecture is
            not that of its family.
    """
    present = dict(model.named_parameters())
    named = {parameter_name(leaf): leaf for leaf in subset.resolve(model_depths(model))}
    if missing := sorted(named.keys() - present):
        nearest = difflib.get_close_matches(missing[0], present, n=3, cutoff=0)
        raise SubsetError(
            f"the subset names {named[missing[0]]}, but the model has no parameter {missing[0]}; "
            f"the nearest it has are {', '.join(nearest)}"
        )
    return named


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


class FewShotClassifier(nn.Module):
    """A model as a classifier over a list of prompts, with a few of its own parameters tuned.

    It shares every frozen tensor with the backbone and owns copies of the tuned ones. So many
    classifiers need little more memory than one, and training leaves the backbone unchanged.
    Moving a shared tensor moves it for all: move the backbone to its device before you build one.

    Args:
        backbone: the frozen checkpoint.
        subset: the parameters to tune.
        precision: the number format that the encoders compute in. What is tuned, features and
            losses are float32. bfloat16 has the range of float32, so that no loss is scaled.

    Raises:
        SubsetError: the subset names parameters that the backbone lacks, or that it holds in
            another precision than float32 (`study.method.precision.hold`).
    """

    def __init__(
        self, backbone: Backbone, subset: Subset, *, precision: Precision = "float32"
    ) -> None:
        super().__init__()
        owned = tuned_names(backbone.clip, subset)
        shared = {id(p): p for name, p in backbone.clip.named_parameters() if name not in owned}
        self.clip: CLIPModel = copy.deepcopy(backbone.clip, shared)
        self.tuned: list[TunedParameter] = unfreeze(self.clip, subset)
        self.precision = precision
        refuse_held(self.tuned)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.clip.logit_scale.device

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """Return unit-length text features: (classes, length) int64 to (classes, dim) float32."""
        with self.autocast():
            features = self.clip.get_text_features(input_ids=input_ids).pooler_output
        return self.unit(features)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Return unit-length image features: (batch, 3, size, size) to (batch, dim) float32."""
        with self.autocast():
            features = self.clip.get_image_features(pixel_values=pixel_values).pooler_output
        return self.unit(features)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Return scaled cosines: (batch, dim) and (classes, dim) to (batch, classes) float32.

        SigLIP's bias, which is one number for all classes, is left out: it cancels in the softmax.
        """
        return self.clip.logit_scale.exp() * image_features @ text_features.T

    def unit(self, features: Tensor) -> Tensor:
        """Return features at unit length in the parameters' precision."""
        return F.normalize(features.to(self.clip.logit_scale.dtype), dim=-1)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which the encoders compute in the classifier's precision."""
        # Some devices warn of a type that they cannot cast to, even where nothing is cast.
        enabled = self.precision != "float32"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)


def refuse_held(tuned: Iterable[TunedParameter]) -> None:
    """Raise if something to tune is held in fewer digits than training needs.

    Raises:
        SubsetError: a parameter is neither float32 nor float64.
    """
    for one in tuned:
        if one.parameter.dtype not in (torch.float32, torch.float64):
            raise SubsetError(
                f"{one.name} is held in {one.parameter.dtype}, in which small steps vanish; "
                "allowed is tuning biases and LayerNorms, or a backbone that is held in float32"
            )


@torch.no_grad()
def classify(
    classifier: Classifier[Any],
    features: Iterable[Tensor],
    class_features: Tensor,
    calibration: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the class that is nearest to each image, and its probability.

    Args:
        classifier: the model, for its logit scale.
        features: batches of image features, (batch, dim) float32, unit length.
        class_features: (classes, dim) float32, unit length.
        calibration: what is taken from the logits of each class, (classes,) float32.

    Returns:
        (images,) int64, rows of ``class_features``, and (images,) float32; both on the CPU.
    """
    rows, probabilities = [torch.empty(0, dtype=torch.int64)], [torch.empty(0)]
    for batch in features:
        logits = classifier.logits(batch, class_features) - calibration
        rows.append(logits.argmax(dim=-1).cpu())
        probabilities.append(logits.softmax(dim=-1).amax(dim=-1).cpu())
    return torch.cat(rows), torch.cat(probabilities)


@torch.no_grad()
def compete(
    classifier: Classifier[Any],
    features: Iterable[Tensor],
    class_features: Tensor,
    trained: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best of the trained and of the other classes for each image, and their gap.

    Args:
        classifier: the model, for its logit scale.
        features: see `classify`.
        class_features: see `classify`.
        trained: (classes,) bool, whether a class was trained; there are both kinds.

    Returns:
        (images,) int64 twice, rows of ``class_features``, and (images,) float32: the logit of the
        former less that of the latter; all on the CPU.
    """
    found = []
    for batch in features:
        logits = classifier.logits(batch, class_features).cpu()
        own = logits.masked_fill(~trained, -torch.inf).max(dim=-1)
        other = logits.masked_fill(trained, -torch.inf).max(dim=-1)
        found.append((own.indices, other.indices, own.values - other.values))
    best, runner, gap = (torch.cat(column) for column in zip(*found, strict=True))
    return best, runner, gap


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
    features = torch.cat([classifier.encode_text(i) for i in input_ids.split(PROMPTS_AT_ONCE)])
    if templates == 1:
        return features
    return F.normalize(features.unflatten(0, (-1, templates)).mean(dim=1), dim=-1)


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the fraction of correct predictions; both are (images,) int64. NaN without images."""
    return (predictions == labels).double().mean().item()


def class_accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the fraction of their images that are predicted correctly.

    Args:
        predictions: (images,) int64.
        labels: (images,) int64; the classes are those that occur here.

    Returns:
        A fraction; NaN without images.
    """
    _, of_image, sizes = labels.unique(return_inverse=True, return_counts=True)
    return ((predictions == labels).double() / sizes[of_image]).sum().div(len(sizes)).item()
