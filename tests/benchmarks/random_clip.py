"""A training step of CLIP with random weights, in the shapes of published ones, on any device.

Prompts have 10 to 14 tokens and begin alike, as those of a template do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from study.backbones.backbone import Backbone
from study.data.images.table import to_device
from study.method.model import FewShotClassifier
from study.method.precision import cast_matrices
from study.method.staged import Prompts, StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, make_optimizer, training_step
from study.method.training_options import Precision

TINY = "tiny"
SHAPES = {
    "ViT-B/32": {"patch_size": 32},
    "ViT-B/16": {"patch_size": 16},
    "ViT-L/14": {
        "patch_size": 14,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
    TINY: {
        "patch_size": 16,
        "image_size": 32,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
}
"""What differs from ViT-B/32 in each image encoder; `TINY` shows that a benchmark works."""
TEXT_SHAPES = {
    "ViT-L/14": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    TINY: {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
}
DISTILL_WEIGHT = 8.0
START, END = 49406, 49407
SHARED = [320, 1125, 539, 320]
"""The tokens of "a photo of a"."""


@dataclass(frozen=True)
class Step:
    """A model and all that a step of it takes; what a trial computes once is computed once."""

    classifier: FewShotClassifier
    optimizer: torch.optim.Optimizer
    pixels: Tensor
    """On the CPU, from where they travel to the device."""
    labels: Tensor
    ids: Tensor
    zero_shot_text: Tensor

    @cached_property
    def staged(self) -> StagedClassifier:
        """The classifier as trials use it."""
        return StagedClassifier(self.classifier)

    @cached_property
    def prompts(self) -> Prompts:
        """The prompts after all frozen stages."""
        return self.staged.begin_prompts(self.ids)

    def begin_images(self) -> Tensor:
        """Bring the images to the device and through all frozen stages."""
        return self.staged.begin_images(to_device(self.pixels, self.classifier.device))

    def take_augmented(self) -> None:
        """Take a step as trials do with augmentation: images are new in each step."""
        objective = Objective(self.prompts, self.zero_shot_text, DISTILL_WEIGHT)
        images = self.begin_images()
        training_step(self.staged, self.optimizer, images, self.labels, objective)


def make_step(
    batch: int,
    *,
    subset: str = "clipfit",
    classes: int = 100,
    precision: Precision = "float32",
    device: str = "cpu",
    shape: str = "ViT-B/16",
) -> Step:
    """Make a model that is ready for its first step; equal arguments give equal numbers.

    Args:
        batch: the number of images.
        subset: what is tuned.
        classes: the number of classes.
        precision: what is computed in; frozen matrices are held in it as well.
        device: the device of the model.
        shape: a name of `SHAPES`.
    """
    backbone = make_backbone(shape)
    cast_matrices(backbone.clip, precision)
    backbone.clip.to(device)
    generator = torch.Generator().manual_seed(0)
    ids = make_prompts(classes, generator).to(device)
    size = backbone.image_size
    pixels = torch.randn(batch, 3, size, size, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator).to(device)
    classifier = FewShotClassifier(backbone, parse(subset), precision=precision)
    optimizer = make_optimizer(classifier.tuned, {"bias": 0.002, "ln": 0.002})
    with torch.no_grad():
        zero_shot = FewShotClassifier(backbone, parse("none"), precision=precision)
        zero_shot_text = zero_shot.encode_text(ids)
    return Step(classifier, optimizer, pixels, labels, ids, zero_shot_text)


def make_prompts(classes: int, generator: torch.Generator) -> Tensor:
    """Make the tokens of prompts, (classes, 14) int64."""
    rows = []
    for _ in range(classes):
        length = int(torch.randint(10, 15, (), generator=generator))
        name = torch.randint(1000, 40000, (length - 3 - len(SHARED),), generator=generator)
        row = [START, *SHARED, *name.tolist(), 269, END]
        rows.append(row + [0] * (14 - len(row)))
    return torch.tensor(rows)


def make_backbone(shape: str) -> Backbone:
    """Make a CLIP in one of `SHAPES` with random weights."""
    torch.manual_seed(0)
    tokens = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": 0}
    text = tokens | TEXT_SHAPES.get(shape, {})
    width = 768 if shape == "ViT-L/14" else 512
    config = CLIPConfig(text_config=text, vision_config=SHAPES[shape], projection_dim=width)
    clip = CLIPModel(config).eval().requires_grad_(False)
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    size = config.vision_config.image_size
    return Backbone("random", clip, None, size, mean, std, fingerprint="0" * 16)
