"""The model of a peer: its classifier, and the forward pass that trials use."""

from dataclasses import dataclass

from torch import Tensor

from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier


class PlainPass:
    """A classifier that runs transformers' own pass, with the methods of `StagedClassifier`.

    No stage runs beforehand: images stay pixels, and prompts stay token ids.

    Args:
        classifier: the classifier, whose parameters are read at every call.
    """

    def __init__(self, classifier: FewShotClassifier) -> None:
        self.classifier = classifier
        self.tuned = classifier.tuned
        """The tuned parameters."""
        self.logits = classifier.logits
        self.encode_text = classifier.encode_text
        self.encode_image = classifier.encode_image
        self.images_are_frozen = False

    def begin_prompts(self, input_ids: Tensor) -> Tensor:
        """Return the token ids as they are, (prompts, length) int64."""
        return input_ids

    def begin_images(self, pixel_values: Tensor) -> Tensor:
        """Return the pixels as they are, (images, 3, size, size) float32."""
        return pixel_values


ForwardPass = StagedClassifier | PlainPass
"""The forward pass of a classifier, whose first part may run beforehand."""


@dataclass(frozen=True)
class PeerModel:
    """The model that a row of `study.method.peers.PEERS` builds."""

    classifier: FewShotClassifier
    """The classifier, whose tuned parameters change in training."""
    staged: ForwardPass
    """The forward pass of the same classifier, for training and evaluation."""
    distill_weight: float = 0.0
    """The weight of the loss term that the row's regularizer names."""
    views: int | None = None
    """The number of augmented views of each image, one an epoch in turn, so that frozen layers run
    once on each view; None means new views in each epoch."""
