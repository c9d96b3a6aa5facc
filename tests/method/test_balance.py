"""Classes of unequal size are made up for by logits that know the sizes, or by weights."""

import pytest
import torch
from torch.nn import functional as F

from study.method.balance import class_balance
from study.method.head import train_head
from study.method.recipe import WantedBalance
from tests.not_none import not_none

LABELS = torch.tensor([0, 0, 0, 1])


def test_logits_get_the_logarithm_of_the_share_of_their_class():
    balance = not_none(class_balance("logit_adjusted", LABELS, 2))
    loss = balance.cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    assert loss.item() == pytest.approx(-torch.tensor(0.25).log().item())


def test_weights_make_every_class_count_alike_and_the_mean_image_once():
    balance = not_none(class_balance("weights", LABELS, 2))
    assert balance.weights[LABELS].mean() == 1
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, LABELS, weight=balance.weights)
    torch.testing.assert_close(balance.cross_entropy(logits, LABELS), expected)


@pytest.mark.parametrize(
    "form, labels", [("none", LABELS), ("auto", torch.tensor([0, 0, 1])), ("auto", LABELS[:0])]
)
def test_nothing_else_changes_a_loss(form: WantedBalance, labels: torch.Tensor):
    assert class_balance(form, labels, 2) is None


def test_a_class_that_lost_its_images_leaves_all_finite():
    balance = not_none(class_balance("logit_adjusted", LABELS, 3))
    assert balance.offsets.isfinite().all()


def test_an_adjusted_head_finds_the_rare_class_more_often():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 40 + [1] * 4)
    images = F.normalize(torch.randn(44, 8, generator=generator) + labels[:, None], dim=-1)
    text = F.normalize(torch.randn(2, 8, generator=generator), dim=-1)
    rare = []
    for balance in (None, class_balance("logit_adjusted", labels, 2)):
        rows = train_head(images, labels, text, 20.0, balance)
        rare.append((images @ rows.T).argmax(dim=1).sum().item())
    assert rare[0] < rare[1]
