"""A classifier to stage, with what the reading version gives for it."""

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.model import FewShotClassifier
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training_options import Precision

WORDS = [
    ["a photo of a cat", "a photo of a dog", "a dog"],
    ["a photo of a cat", "a photo of a red bird of a cat"],
    ["bird"],
]
Features = tuple[Tensor, Tensor]


class Case:
    """A classifier that has left its start, with images and prompts; their number varies them."""

    def __init__(
        self,
        backbone: Backbone,
        subset: str,
        number: int,
        dtype: torch.dtype,
        precision: Precision = "float32",
    ):
        backbone.clip.to(dtype)
        generator = torch.Generator().manual_seed(3 + number)
        self.classifier = FewShotClassifier(backbone, parse(subset), precision=precision)
        for tuned in self.classifier.tuned:
            noise = torch.randn(tuned.parameter.shape, generator=generator, dtype=dtype)
            tuned.parameter.data.add_(0.2 * noise)
        size = backbone.image_size
        self.pixels = torch.randn(3 + number, 3, size, size, generator=generator, dtype=dtype)
        self.ids = backbone.tokenize(WORDS[number])
        self.labels = torch.arange(len(self.pixels)) % len(self.ids)

    def plain(self) -> Features:
        """Text and image features by transformers' own code."""
        return self.classifier.encode_text(self.ids), self.classifier.encode_image(self.pixels)

    def staged(self) -> Features:
        """The same by the staged pass."""
        staged = StagedClassifier(self.classifier)
        text = staged.encode_text(staged.begin_prompts(self.ids))
        return text, staged.encode_image(staged.begin_images(self.pixels))

    def gradients(self, features: Features) -> dict[str, Tensor]:
        """Of a sum that weighs every logit differently, by name."""
        text, image = features
        logits = self.classifier.logits(image, text)
        for tuned in self.classifier.tuned:
            tuned.parameter.grad = None
        (logits * torch.arange(logits.numel()).view_as(logits).sin()).sum().backward()
        return {
            tuned.name: tuned.parameter.grad
            for tuned in self.classifier.tuned
            if tuned.parameter.grad is not None
        }

    def tuned(self) -> list[Tensor]:
        """Copies of the tuned parameters."""
        return [tuned.parameter.detach().clone() for tuned in self.classifier.tuned]


def distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def assert_close_gradients(case: Case, tolerance: float) -> dict[str, Tensor]:
    """Return the gradients of the staged pass, after comparing all with the plain one."""
    plain, staged = case.plain(), case.staged()
    for one, other in zip(staged, plain, strict=True):
        assert one.dtype == other.dtype
        assert distance(one, other) < tolerance
    expected, found = case.gradients(plain), case.gradients(staged)
    assert [*found] == [*expected] == [tuned.name for tuned in case.classifier.tuned]
    for name, gradient in expected.items():
        assert distance(found[name], gradient) < tolerance, name
    return found
