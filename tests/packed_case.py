"""Several classifiers to pack, with what the reading version gives for each of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from study.method.model import Backbone, FewShotClassifier, Precision
from study.method.packed import PackedClassifiers
from study.method.subsets import parse

WORDS = [
    ["a photo of a cat", "a photo of a dog", "a dog"],
    ["a photo of a cat", "a photo of a red bird of a cat"],
    ["bird"],
]


class Case:
    """Classifiers at different points, with images and prompts of their own."""

    def __init__(
        self,
        backbone: Backbone,
        subset: str,
        runs: int,
        dtype: torch.dtype,
        precision: Precision = "float32",
    ) -> None:
        backbone.clip.to(dtype)
        generator = torch.Generator().manual_seed(3)
        self.classifiers = [
            FewShotClassifier(backbone, parse(subset), precision=precision) for _ in range(runs)
        ]
        for tuned in (t for classifier in self.classifiers for t in classifier.tuned):
            noise = torch.randn(tuned.parameter.shape, generator=generator, dtype=dtype)
            tuned.parameter.data.add_(0.2 * noise)
        size = backbone.image_size
        self.pixels = [
            torch.randn(3 + run, 3, size, size, generator=generator, dtype=dtype)
            for run in range(runs)
        ]
        self.ids = [backbone.tokenize(WORDS[run]) for run in range(runs)]

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Images and prompts of each run."""
        return list(zip(self.pixels, self.ids, strict=True))

    def plain(self) -> list[tuple[Tensor, Tensor]]:
        """Text and image features by transformers' own code."""
        return [
            (classifier.encode_text(ids), classifier.encode_image(pixels))
            for classifier, ids, pixels in zip(self.classifiers, self.ids, self.pixels, strict=True)
        ]

    def packed(self) -> list[tuple[Tensor, Tensor]]:
        """The same by the packed pass."""
        packed = PackedClassifiers(self.classifiers)
        text = packed.encode_text(packed.begin_prompts(self.ids))
        image = packed.encode_image([packed.begin_images(pixels) for pixels in self.pixels])
        return list(zip(text, image, strict=True))

    def gradients(self, features: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Of a sum that weighs every logit differently, by run and name."""
        loss = torch.zeros((), dtype=features[0][0].dtype)
        for classifier, (text, image) in zip(self.classifiers, features, strict=True):
            logits = classifier.logits(image, text)
            loss = loss + (logits * torch.arange(logits.numel()).view_as(logits).sin()).sum()
        for tuned in (t for classifier in self.classifiers for t in classifier.tuned):
            tuned.parameter.grad = None
        loss.backward()
        return {
            f"{run} {tuned.name}": tuned.parameter.grad
            for run, classifier in enumerate(self.classifiers)
            for tuned in classifier.tuned
            if tuned.parameter.grad is not None
        }


def distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()
