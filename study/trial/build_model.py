"""The untrained model of a trial's settings: a subset of CLIP's parameters, or another method."""

from typing import NamedTuple

import torch

from study.backbones.backbone import Backbone
from study.config.methods import Clap, FullFineTuning, Lora, Projection, TwoStage
from study.config.trial_settings import TrialSettings
from study.method.full_tuning import FullClassifier
from study.method.head import VIEWS
from study.method.lora import LoraClassifier
from study.method.model import FewShotClassifier
from study.method.plain_pass import ForwardPass, PlainPass
from study.method.projection import ProjectionClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training_options import Precision
from study.method.two_stage import TwoStageClassifier


class BuiltModel(NamedTuple):
    """A classifier in its forward pass, and how it is trained."""

    staged: ForwardPass
    """The forward pass of the classifier, for training and evaluation."""
    distill_weight: float = 0.0
    """The weight of the loss term that the regularizer names."""
    views: int | None = None
    """The number of augmented views of each image, one an epoch in turn, so that frozen layers run
    once on each view; None means new views in each epoch."""


def build_model(
    settings: TrialSettings,
    backbone: Backbone,
    *,
    seed: int,
    precision: Precision = "float32",
    shots: float,
) -> BuiltModel:
    """Return the untrained model of settings.

    Args:
        settings: the settings.
        backbone: the checkpoint, which stays unchanged.
        seed: the seed of all random numbers.
        precision: see `study.method.model.FewShotClassifier`.
        shots: the number of training images of a class, or its mean.

    Raises:
        ConfigError: an optional library is not installed.
        SubsetError: the backbone lacks what is tuned.
    """
    classifier: FewShotClassifier
    match settings.method:
        case None | Clap():  # which trains nothing but its head
            classifier = FewShotClassifier(backbone, parse(settings.subset), precision=precision)
            return BuiltModel(StagedClassifier(classifier), settings.distill_weight)
        case FullFineTuning():
            return BuiltModel(PlainPass(FullClassifier(backbone, precision=precision)))
        case Lora(rank=rank, alpha=alpha, dropout=dropout):
            classifier = LoraClassifier(
                backbone,
                rank=rank,
                alpha=alpha,
                dropout=dropout,
                generator=torch.Generator().manual_seed(seed),
                precision=precision,
            )
            return BuiltModel(PlainPass(classifier))
        case Projection(distance_weight=weight):
            classifier = ProjectionClassifier(backbone, precision=precision)
            if weight is None:
                weight = 1 / shots
            return BuiltModel(StagedClassifier(classifier), weight, VIEWS)
        case TwoStage():
            classifier = TwoStageClassifier(backbone, precision=precision)
            return BuiltModel(StagedClassifier(classifier))
