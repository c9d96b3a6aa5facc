"""Full fine-tuning of both encoders; its result is as large as the checkpoint."""

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier
from study.method.parameters import METHOD
from study.method.training_options import Precision


class FullClassifier(FewShotClassifier):
    """A classifier that tunes every parameter of both encoders, embeddings and projections too.

    The logit scale is not tuned, since all rows of a leaderboard share it. Nor is SigLIP's logit
    bias, because no probability depends on it.

    Args:
        backbone: the checkpoint, which stays unchanged.
        precision: see `FewShotClassifier`.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision = "float32") -> None:
        super().__init__(backbone, precision=precision)
        names = [name for name, _ in self.clip.named_parameters() if not name.startswith("logit")]
        self.tune(dict.fromkeys(names, METHOD))
