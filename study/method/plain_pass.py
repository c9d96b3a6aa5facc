"""The forward pass of methods that tune other parameters than sites."""

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
