"""Other methods on the small random CLIPs, and steps of their training."""

import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.method.lora import LoraClassifier
from study.method.model import FewShotClassifier
from study.method.parameters import METHOD
from study.method.plain_pass import PlainPass
from study.method.training import Objective, Recipe, make_optimizer, training_step


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lora(backbone: Backbone, seed: int = 1, dropout: float = 0.0) -> LoraClassifier:
    return LoraClassifier(backbone, rank=2, alpha=6, dropout=dropout, generator=generator(seed))


def step(
    classifier: FewShotClassifier, images: Tensor, labels: Tensor, ids: Tensor, times: int = 2
):
    optimizer = make_optimizer(classifier.tuned, {METHOD: 0.02}, Recipe("adamw"))
    plain = PlainPass(classifier)
    objective = Objective(ids, classifier.encode_text(ids).detach(), 0.0)
    for _ in range(times):
        training_step(plain, optimizer, images, labels, objective)


def features(classifier: FewShotClassifier, images: Tensor, ids: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [classifier.encode_image(images), classifier.encode_text(ids)]
