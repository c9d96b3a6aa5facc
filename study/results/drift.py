"""How far tuning moved the parameters and the features of a model."""

import copy
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.data.images.table import ImageTable, normalize
from study.data.prompts import prompts
from study.embedded import backbone_path
from study.errors import DataError, DeltaError
from study.method.delta import Tensors, apply_delta, load_delta, without_head
from study.method.parameters import METHOD, PROJECTION, find_tensor
from study.results.study_result import StudyResult
from study.trial.prepare import Preparer
from study.trial.study import Study

logger = logging.getLogger(__name__)
MOST_IMAGES = 512
"""The most images whose features are compared, spread evenly over a trial's evaluation images."""


@dataclass(frozen=True)
class TensorDrift:
    """How far one tensor moved."""

    name: str
    """The name of the tensor in the transformers model."""
    encoder: str
    """The encoder, "text" or "vision"."""
    layer: int | None
    """The index of the block, from the bottom; None outside the blocks."""
    site: str
    """The site in the subset language, with the tensor: ``mlp.fc2.bias``, ``ln1.weight``."""
    kind: str
    """The kind of the tensor: "ln" for LayerNorms, "bias" for other biases."""
    moved: float
    """The L2 norm of the change, a mean over the runs that tuned it."""
    size: float
    """The L2 norm before tuning."""

    @property
    def relative(self) -> float:
        """The change as a share of the norm before; infinite for a tensor that was zero."""
        if self.moved == 0.0:
            return 0.0
        return self.moved / self.size if self.size else math.inf


@dataclass(frozen=True)
class FeatureDrift:
    """How far features moved."""

    cosine: float
    """The mean cosine between a feature before and after; 1 when no direction changed."""
    cka: float
    """The linear centred kernel alignment; 1 when features differ only by rotation and scale."""


@dataclass(frozen=True)
class StudyDrift:
    """The drift of trials of a study, averaged over them."""

    tensors: Sequence[TensorDrift]
    """The drift of each tuned tensor."""
    text: FeatureDrift
    """The drift of the features of the class names."""
    images: FeatureDrift | None = None
    """The drift of the features of evaluation images; None where those can no longer be read."""


def parameter_drift(before: Tensors, runs: Iterable[Tensors]) -> list[TensorDrift]:
    """Measure how far each tuned tensor moved, in float64: the mean over the runs that tuned it.

    Args:
        before: the tensors of the backbone by transformers name, at least all tuned ones.
        runs: the tuned tensors of each run by the same names.

    Returns:
        One entry per tuned tensor, sorted by name.

    Raises:
        SubsetError: a tuned tensor is of no site in the table, nor tuned by a method with a delta.
    """
    moved = defaultdict(list)
    for after in runs:
        for name, tensor in after.items():
            change = tensor.detach().double() - before[name].detach().double()
            moved[name].append(change.norm().item())
    drifts = []
    for name, distances in sorted(moved.items()):
        encoder, layer, site, kind = "vision", None, "projection.weight", METHOD
        if name != PROJECTION:
            found = find_tensor(name)
            encoder, layer, kind = found.encoder, found.layer, found.kind
            site = f"{found.site}.{found.attribute}"
        size = before[name].detach().double().norm().item()
        drifts.append(TensorDrift(name, encoder, layer, site, kind, fmean(distances), size))
    return drifts


def feature_drift(before: Tensor, after: Tensor) -> FeatureDrift:
    """Compare features of the same inputs before and after tuning, in float64.

    Args:
        before: features, (inputs, width), of two inputs or more.
        after: features of the same inputs in the same order, (inputs, width).
    """
    old = before.detach().double()
    new = after.detach().double()
    cosines = (old * new).sum(1) / (old.norm(dim=1) * new.norm(dim=1))
    old = old - old.mean(0)
    new = new - new.mean(0)
    # Kornblith et al. (2019), eq. 4, in feature space, as inputs may outnumber features.
    cka = (new.T @ old).norm() ** 2 / ((old.T @ old).norm() * (new.T @ new).norm())
    return FeatureDrift(cosines.mean().item(), cka.item())


@torch.no_grad()
def study_drift(result: StudyResult) -> StudyDrift:
    """Measure the drift of the tests of the final model's configuration, averaged over them.

    Args:
        result: the result of the study.

    Raises:
        DataError: there is no best configuration, or no test of it kept tuned parameters.
        DeltaError: a delta is damaged or of another backbone.
        BackboneError: the backbone cannot be loaded.
    """
    if not result.final:
        raise DataError(f"{result.folder.path} has no best configuration")
    tested = result.tested_trials(result.final.row.label)
    paths = [result.folder.trial(one.trial_id).path / "delta.safetensors" for one in tested]
    deltas = [path for path in paths if path.is_file()]
    if not deltas:
        raise DataError(f"{result.folder.path} contains no tuned parameters of a test")
    # A relative storage path would be relative to the folder in which this command runs.
    config = result.config.model_copy(update={"storage": result.folder.path.parent})
    backbone = load_backbone(backbone_path(config.backbone.name), revision=config.backbone.revision)
    preparer = Preparer(Study(config, result.folder), backbone.image_size)
    pixels: Sequence[Tensor] = ()
    try:
        pixels = _evaluation_pixels(backbone, preparer, tested[0].seed)
    except DataError as error:
        logger.warning("image features are not compared: %s", error)
    runs, of_text, of_images = [], [], []
    for path in deltas:
        tensors, info = load_delta(path)
        if info.fingerprint != backbone.fingerprint:
            raise DeltaError(
                f"{path} was tuned from a different backbone than {config.backbone.name}"
            )
        tuned = copy.deepcopy(backbone.clip)
        apply_delta(tuned, tensors)
        runs.append(without_head(tensors))
        texts = [text for (text,) in prompts(list(info.class_names), info.templates[:1])]
        tokens = [backbone.tokenize(texts)]
        before, after = backbone.clip.get_text_features, tuned.get_text_features
        of_text.append(_compare(before, after, tokens))
        if pixels:
            before, after = backbone.clip.get_image_features, tuned.get_image_features
            of_images.append(_compare(before, after, pixels))
    return StudyDrift(
        parameter_drift(dict(backbone.clip.named_parameters()), runs),
        _mean_drift(of_text),
        _mean_drift(of_images) if of_images else None,
    )


def _mean_drift(drifts: Sequence[FeatureDrift]) -> FeatureDrift:
    return FeatureDrift(fmean(one.cosine for one in drifts), fmean(one.cka for one in drifts))


def _evaluation_pixels(backbone: Backbone, preparer: Preparer, seed: int) -> tuple[Tensor, ...]:
    """Return test images, which all seeds share, in batches, (images, 3, size, size) float32."""
    data = preparer.test(seed)
    paths = [record.path for part in data.tasks[0].evaluations for record in part.records]
    step = math.ceil(len(paths) / MOST_IMAGES)
    images = ImageTable(data.eval_images).pixels(paths[::step])
    pixels = normalize(images, backbone.image_mean, backbone.image_std)
    batches: tuple[Tensor, ...] = pixels.split(64)
    return batches


def _compare(
    before: Callable[[Tensor], Any], after: Callable[[Tensor], Any], batches: Sequence[Tensor]
) -> FeatureDrift:
    """Measure the drift of the features of batches, which an encoder returns before and after."""
    features_before = [before(batch).pooler_output for batch in batches]
    features_after = [after(batch).pooler_output for batch in batches]
    return feature_drift(torch.cat(features_before), torch.cat(features_after))
