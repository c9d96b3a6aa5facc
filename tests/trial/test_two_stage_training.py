"""2SFS is trained as its paper describes it."""

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from study.backbones.backbone import Backbone
from study.config.methods import TwoStage
from study.config.trial_settings import TrialSettings
from study.trial.activations import open_table
from study.trial.run_trial import run_trial
from study.trial.study import TrialData
from tests.settings import clipfit_trial

FIRST, SECOND = 6, 4
"""The epochs of the stages."""
STEPS = 3
"""The steps of an epoch; two batches are a pass over 40 images."""


def test_it_is_trained_as_by_a_plain_loop(
    holdout: TrialData, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    (task,) = holdout.tasks
    train, (part,) = task.train, task.evaluations
    shots = len(train.records) / len(train.classes)
    monkeypatch.setattr("study.config.methods.TwoStage.steps_per_shot", 10 * STEPS / shots)
    settings = TrialSettings(subset="none", head="linear", method=TwoStage())
    recipe = {"optimizer": "adamw", "weight_decay": 0.01, "regularizer": "none", "batch_size": 32}
    config = clipfit_trial(epochs=10, training=recipe, settings=settings)
    *_, before, last = run_trial(config, holdout, backbone)

    mean, std = torch.tensor([backbone.image_mean, backbone.image_std])

    def pixels(images: Path, paths: Sequence[str]) -> Tensor:
        shares = open_table(images).pixels(paths) / 255
        return (shares - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    clip = copy.deepcopy(backbone.clip).requires_grad_(False)
    ids = backbone.tokenize([holdout.templates[0].format(n) for n in holdout.class_names])
    images = pixels(holdout.train_images, train.paths)
    labels = torch.tensor([record.label for record in train.records])
    norms = [p for name, p in clip.named_parameters() if "norm" in name]

    def text() -> Tensor:
        return F.normalize(clip.get_text_features(input_ids=ids).pooler_output, dim=-1)

    def cosines(pixels: Tensor, rows: Tensor) -> Tensor:
        features = clip.get_image_features(pixel_values=pixels).pooler_output
        return clip.logit_scale.exp() * F.normalize(features, dim=-1) @ F.normalize(rows, dim=-1).T

    draws = torch.Generator().manual_seed(config.seed * 1_000_003)

    def train_stage(parameters: list[Tensor], rows: Callable[[], Tensor], epochs: int):
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.01, betas=(0.9, 0.999))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * STEPS, eta_min=1e-6)
        for _ in range(epochs):
            passes = (torch.randperm(len(labels), generator=draws).split(32) for _ in range(2))
            for batch in list(chain.from_iterable(passes))[:STEPS]:
                loss = F.cross_entropy(cosines(images[batch], rows()), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                cosine.step()

    train_stage(norms, text, FIRST)
    clip.requires_grad_(False)
    weight = text()
    train_stage([weight], lambda: weight, SECOND)
    for name, value in clip.named_parameters():
        if "norm" in name:
            kept = before.state[f"task0.parameter.{name}"]
            torch.testing.assert_close(kept, value, atol=1e-6, rtol=0)
            assert not torch.equal(value, dict(backbone.clip.named_parameters())[name])
    with torch.no_grad():
        expected = cosines(pixels(holdout.eval_images, part.paths), weight).softmax(dim=-1)
    assert {one.head for one in last.predictions} == {"linear"}
    found = torch.tensor([one.probability for one in last.predictions])
    torch.testing.assert_close(found, expected.amax(dim=-1), atol=1e-4, rtol=0)
