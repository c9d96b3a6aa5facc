"""2SFS: all LayerNorms of both encoders, then a linear classifier, for comparison.

Farina et al., "Rethinking Few-Shot Adaptation of Vision-Language Models in Two Stages", CVPR 2025,
arXiv 2503.11609. The first stage trains the LayerNorms by the cross-entropy of CLIP's own logits,
with the text features computed anew in each step. The second keeps both encoders as they are, and
trains a classifier that begins at the text features of the classes. Each has its own AdamW and its
own cosine of the learning rate. Classes that were not trained keep the text encoder.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from study.backbones.backbone import Backbone
from study.method.model import Classifier, FewShotClassifier, TunedParameter, tuned_names
from study.method.parameters import METHOD
from study.method.subsets import parse
from study.method.training_options import Precision

FIRST_STAGE = 0.6
"""The share of all steps that the first stage takes."""
LAST_LR = 1e-6
"""The learning rate that the cosine of a stage ends at."""


class TwoStageClassifier(FewShotClassifier):
    """A classifier that tunes all LayerNorms at one learning rate, as the first stage does.

    Args:
        backbone: the checkpoint, which stays unchanged.
        precision: see `FewShotClassifier`.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision = "float32") -> None:
        super().__init__(backbone, precision=precision)
        self.tune(dict.fromkeys(tuned_names(backbone.clip, parse("ln")), METHOD))


class SecondStage:
    """A classifier of trained rows on frozen encoders, for `study.method.training.training_step`.

    Args:
        encoders: the classifier that the first stage trained, which stays as it is.
        rows: (classes, dim), where the rows begin; they are normalised in each step.
    """

    def __init__(self, encoders: Classifier, rows: Tensor) -> None:
        self.encoders = encoders
        self.rows = nn.Parameter(rows.detach().clone())
        self.tuned = [TunedParameter("rows", METHOD, self.rows)]
        self.logits = encoders.logits

    def encode_text(self, prompts: object) -> Tensor:
        """Return the rows at unit length, (classes, dim), whatever the prompts are."""
        return F.normalize(self.rows, dim=-1)

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit-length image features, (batch, dim) float32, without gradient."""
        return self.encoders.encode_image(images)


def cosine_rate(lr: float, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0, of a stage of some steps."""
    return LAST_LR + (lr - LAST_LR) / 2 * (1 + math.cos(math.pi * step / steps))
