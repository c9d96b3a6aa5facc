"""The model of a peer: its classifier, and the pass of it that trials take."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from study.method.model import FewShotClassifier, TunedParameter
from study.method.staged import StagedClassifier


class PlainPass:
    """A classifier by transformers' own pass, in the form of `StagedClassifier`.

    Nothing of an input is computed before: images begin as pixels, and prompts as token ids.

    Args:
        classifier: the classifier, whose parameters are read at every call.
    """

    def __init__(self, classifier: FewShotClassifier) -> None:
        self.classifier = classifier
        self.tuned: Sequence[TunedParameter] = classifier.tuned
        """The tuned parameters."""
        self.logits = classifier.logits
        self.encode_text = classifier.encode_text
        self.encode_image = classifier.encode_image

    def begin_prompts(self, input_ids: Tensor) -> Tensor:
        """Return the token ids as they are, (prompts, length) int64."""
        return input_ids

    def begin_images(self, pixel_values: Tensor) -> Tensor:
        """Return the pixels as they are, (images, 3, size, size) float32."""
        return pixel_values


@dataclass(frozen=True)
class PeerModel:
    """What a row of `study.method.peers.PEERS` builds."""

    classifier: FewShotClassifier
    """The classifier, whose tuned parameters change in training."""
    staged: StagedClassifier | PlainPass
    """The pass of the same classifier that training and evaluation take."""
    distill_weight: float = 0.0
    """The weight of the loss term that the row's regularizer names."""
    views: int | None = None
    """How many augmented views of each image it is trained on, one an epoch in turn, so that what
    is frozen runs once on each; None means new ones in each epoch."""
