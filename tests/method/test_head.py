"""The linear head: it begins at the text, and what it does not know stays the text."""

import torch
from torch.nn import functional as F

from study.method.head import GRID, Head, HeadTraining, train_heads

SCALE = 20.0


def features(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


IMAGES, LABELS, TEXT = features(30, 1), torch.arange(30) % 3, features(3, 2)


def by_adam(lr: float, steps: int) -> torch.Tensor:
    """The definition: rows that begin at the text, tuned by Adam on the whole set."""
    rows = TEXT.clone().requires_grad_()
    optimizer = torch.optim.Adam([rows], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(SCALE * IMAGES @ F.normalize(rows, dim=-1).T, LABELS).backward()
        optimizer.step()
    return F.normalize(rows.detach(), dim=-1)


def test_every_training_of_the_grid_is_adam_from_the_text():
    for training, rows in zip(GRID, train_heads(IMAGES, LABELS, TEXT, SCALE, GRID), strict=True):
        torch.testing.assert_close(rows, by_adam(*training), atol=1e-4, rtol=0)
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))


def test_a_head_of_no_steps_is_the_text():
    ways = [HeadTraining(0.01, 0), HeadTraining(0.01, 5)]
    first, second = train_heads(IMAGES, LABELS, TEXT, SCALE, ways)
    assert torch.equal(first, TEXT)
    assert not torch.equal(second, TEXT)


def test_classes_that_a_head_does_not_know_keep_their_text():
    head, text = Head(features(2, 3), (1, 3)), features(4, 4)
    replaced = head.replace_in(text, (0, 1, -1, 3))
    assert torch.equal(replaced[[0, 2]], text[[0, 2]])
    assert torch.equal(replaced[[1, 3]], head.rows)
    assert torch.equal(head.replace_in(text[:1], (0,)), text[:1])
