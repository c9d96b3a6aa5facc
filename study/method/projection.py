"""The projection of CLIP's image encoder alone, for comparison: ProLIP.

Fahes et al., "CLIP's Visual Embedding Projector is a Few-shot Cornucopia", arXiv 2410.05270. The
matrix W that makes image features of the encoder's last states begins at its own values W₀. The
loss is the cross-entropy + λ·‖W − W₀‖², the squared Frobenius norm, and the text features stay
zero-shot. Without validation, the authors set λ = 1/N for N shots (README of their repository
astra-vision/ProLIP; ``lambda_v = 1/shots`` in its ``methods/ProLIP.py``, where the norm is
``MSELoss(reduction="sum")``). They train 300 epochs on all images at once by Adam at rates of 1e-5
to 1e-2, each epoch on another saved view of each image.

Here it is trained by the step, batches, epochs and schedule of the other trials. These are fewer
steps, and larger learning rates make up for that.
"""

from study.backbones.backbone import Backbone
from study.errors import SubsetError
from study.method.model import FewShotClassifier
from study.method.parameters import METHOD, PROJECTION
from study.method.training_options import Precision


class ProjectionClassifier(FewShotClassifier):
    """A classifier that tunes the projection of the image encoder, and shares all else.

    Args:
        backbone: the checkpoint, which stays unchanged.
        precision: see `FewShotClassifier`.

    Raises:
        SubsetError: the image encoder has no projection, as in a SigLIP, or the projection
            is neither float32 nor float64.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision = "float32") -> None:
        super().__init__(backbone, precision=precision)
        if PROJECTION not in dict(self.clip.named_parameters()):
            raise SubsetError(
                f"'{backbone.name}' has no {PROJECTION} (the projection of the image features); "
                "expected a CLIP"
            )
        self.tune({PROJECTION: METHOD})
