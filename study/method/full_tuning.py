"""Full fine-tuning of both encoders, a peer; its result is as large as the checkpoint."""

import copy

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier, TunedParameter, refuse_held
from study.method.parameters import PEER
from study.method.recipe import Precision
from study.method.subsets import parse


class FullClassifier(FewShotClassifier):
    """A classifier that tunes every parameter of both encoders, embeddings and projections too.

    The logit scale stays as it is, since all rows of a leaderboard share it, and so does SigLIP's
    logit bias, which no probability depends on.

    Args:
        backbone: the checkpoint, which stays unchanged.
        precision: see `FewShotClassifier`.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision = "float32") -> None:
        super().__init__(backbone, parse("none"), precision=precision)
        shared = {id(p): p for name, p in self.clip.named_parameters() if name.startswith("logit")}
        self.clip = copy.deepcopy(backbone.clip, shared)
        self.tuned = [
            TunedParameter(name, PEER, parameter.requires_grad_())
            for name, parameter in sorted(self.clip.named_parameters())
            if id(parameter) not in shared
        ]
        refuse_held(self.tuned)
