"""CLAP is trained as its paper and its repository describe it."""

import math

import pytest
import torch
from torch.nn import functional as F

from study.method.clap import train_clap

SCALE, CLASSES, DIM = 20.0, 5, 8


@pytest.mark.parametrize("images, views, batches", [(520, 2, 2), (40, 20, 1), (30, 1, 1)])
def test_it_is_trained_as_by_a_plain_loop(images: int, views: int, batches: int):
    """The last class has no image, and no confidence."""
    generator = torch.Generator().manual_seed(1)
    features = F.normalize(torch.randn(views * images, DIM, generator=generator), dim=-1)
    labels = torch.arange(images).remainder(CLASSES - 1).repeat(views)
    text = 3 * torch.randn(CLASSES, DIM, generator=generator)
    trained = train_clap(
        features, labels, text, SCALE, images=images, generator=generator.manual_seed(2)
    )

    draws = torch.Generator().manual_seed(2)
    cosines = F.cosine_similarity(features[:, None], text[None], dim=-1)
    zero_shot = (SCALE * cosines).softmax(dim=1)
    alpha = [zero_shot[labels == c, c].mean() for c in range(CLASSES - 1)]
    weight, momentum = text.clone().requires_grad_(), torch.zeros_like(text)
    for epoch in range(300):
        lr = 0.1 * (1 + math.cos(math.pi * (epoch - 1) / 300)) / 2 if epoch else 1e-5
        order = torch.randperm(views * images, generator=draws)
        for batch in range(batches):
            rows = order[256 * batch : 256 * (batch + 1)]
            cosines = F.cosine_similarity(features[rows, None], weight[None], dim=-1)
            loss = F.cross_entropy(SCALE * cosines, labels[rows])
            distances = [(weight[c] - text[c]).square().sum() for c in range(CLASSES - 1)]
            loss = loss + sum(a * d for a, d in zip(alpha, distances, strict=True)) / CLASSES
            (gradient,) = torch.autograd.grad(loss, weight)
            momentum = 0.9 * momentum + gradient
            weight = (weight - lr * momentum).detach().requires_grad_()
    expected = F.normalize(weight.detach(), dim=-1)
    assert (expected - F.normalize(text, dim=-1)).abs().max() > 0.05
    torch.testing.assert_close(trained, expected, atol=1e-4, rtol=0)
