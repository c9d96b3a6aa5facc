"""A training step as trials take it, in each way to compute it, on any device.

The models have the shapes of ViT-B/16 or ViT-B/32 and random weights, and tune what CLIPFit does.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from paired import peak_memory
from step import make_backbone, make_prompts
from torch import Tensor
from torch.nn import functional as F

from study.data.images.table import to_device
from study.method.model import FewShotClassifier
from study.method.precision import cast_matrices
from study.method.recipe import Precision
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step

WAYS: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "autocast": ("bfloat16", False),
    "held": ("bfloat16", True),
}
"""The precision that is computed in, and whether frozen matrices are held in it."""
EXACT = "float64"
"""A way for comparing with, in which no trial is computed."""
CLASSES = 100
DISTILL_WEIGHT = 8.0


@dataclass(frozen=True)
class Ready:
    """A model, and all that a step of it takes; what is computed once a trial is done."""

    staged: StagedClassifier
    optimizer: torch.optim.Optimizer
    pixels: Tensor
    """On the CPU, from where they travel in each step."""
    labels: Tensor
    prompts: Prompts
    zero_shot: Tensor

    @property
    def weights(self) -> int:
        """The bytes of the weights."""
        return sum(parameter.nbytes for parameter in self.staged.classifier.clip.parameters())

    def begin_images(self) -> Tensor:
        """Bring the images to the device, and through what is frozen before all that is tuned."""
        pixels = to_device(self.pixels, self.staged.classifier.device)
        return self.staged.begin_images(pixels)

    def step(self, images: Tensor | None = None) -> None:
        """Take a step, on images that have begun already or, as augmented ones do, begin in it."""
        begun = self.begin_images() if images is None else images
        training_step(
            *(self.staged, self.optimizer, begun, self.labels),
            Objective(self.prompts, self.zero_shot, DISTILL_WEIGHT),
        )

    @torch.no_grad()
    def evaluate(self) -> None:
        """Encode the images as an evaluation does."""
        self.staged.encode_image(self.begin_images())

    def gradients(self) -> list[Tensor]:
        """Return copies of the gradients of the last step, tensor by tensor."""
        found = [one.parameter.grad for one in self.staged.tuned]
        return [gradient.detach().clone() for gradient in found if gradient is not None]


def make_ready(
    way: str,
    batch: int,
    *,
    device: str = "cpu",
    classes: int = CLASSES,
    patch: int = 16,
    rate: float = 0.002,
    moved: float = 0.0,
    small: bool = False,
) -> Ready:
    """Make a model that is ready for its first step; equal arguments give equal numbers.

    Args:
        way: one of `WAYS`, or `EXACT`.
        batch: the number of images.
        device: the device of the model.
        classes: the number of classes.
        patch: the side of a patch of an image, in pixels.
        rate: the learning rate; at 0 all steps have the same gradients.
        moved: the deviation of the normal noise by which tuned tensors are moved.
        small: whether the model is one for seeing that this works, not for measuring.
    """
    precision, is_held = WAYS.get(way, ("float32", False))
    dtype = torch.float64 if way == EXACT else torch.float32
    backbone = make_backbone(small=small, patch=patch)
    backbone.clip.to(dtype)
    if is_held:
        cast_matrices(backbone.clip, precision)
    backbone.clip.to(device)
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(classes, generator).to(device)
    pixels = torch.randn(batch, 3, backbone.image_size, backbone.image_size, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator).to(device)
    classifier = FewShotClassifier(backbone, parse("clipfit"), precision=precision)
    for one in classifier.tuned:
        noise = torch.randn(one.parameter.shape, generator=generator).to(one.parameter)
        one.parameter.data.add_(moved * noise)
    optimizer = make_optimizer(classifier.tuned, {"bias": rate, "ln": rate})
    staged = StagedClassifier(classifier)
    with torch.no_grad():
        plain = FewShotClassifier(backbone, parse("none"), precision=precision)
        zero_shot = plain.encode_text(ids)
    return Ready(staged, optimizer, pixels.to(dtype), labels, staged.begin_prompts(ids), zero_shot)


def cosines(some: list[Tensor], others: list[Tensor]) -> Tensor:
    """Return the cosine of each pair of gradients, (tensors,) float64."""
    pairs = zip(some, others, strict=True)
    found = [F.cosine_similarity(a.flatten().double(), b.flatten().double(), 0) for a, b in pairs]
    return torch.stack(found)


@dataclass(frozen=True)
class Measured:
    """What a step of one shape needs on a CPU."""

    step: float
    """The CPU seconds of the second step."""
    image: float
    """The CPU seconds of evaluating an image."""
    memory: float
    """The GiB of the weights and of the peak of the first step; NaN where no system tells it."""


def measure_apart(batch: int, way: str, classes: int, patch: int, small: bool) -> Measured:
    """Measure one shape by one thread of a process of its own, whose memory it has alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (batch, way, classes, patch, small))


def _measure(batch: int, way: str, classes: int, patch: int, small: bool) -> Measured:
    torch.set_num_threads(1)
    ready = make_ready(way, batch, classes=classes, patch=patch, small=small)
    peak = peak_memory(ready.step)  # the first step, whose time does not count
    step = _cpu_seconds(ready.step)
    ready.evaluate()
    image = _cpu_seconds(ready.evaluate) / batch
    memory = float("nan") if peak is None else ready.weights / 2**30 + peak
    return Measured(step, image, memory)


def _cpu_seconds(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began
