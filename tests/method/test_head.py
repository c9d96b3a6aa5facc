"""The linear head, and training on classes of unequal size."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor
from torch.nn import functional as F

from study.method.balance import class_balance
from study.method.head import train_head
from study.method.training_options import WantedBalance

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 3, 3])
CLASSES, DIM, SCALE = 4, 4, 20.0


def features(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, DIM, generator=generator, dtype=torch.float64), dim=-1)


IMAGES, TEXT = features(len(LABELS), 1), features(CLASSES, 2)


def expected_loss(flat: NDArray[np.float64], form: WantedBalance) -> float:
    """The definition, with the balance written out."""
    rows = flat.reshape(CLASSES, DIM)
    shares = np.bincount(LABELS, minlength=CLASSES) / len(LABELS)
    offsets = np.log(shares) if form == "logit_adjusted" else 0.0
    weights = 1 / (CLASSES * shares) if form == "weights" else np.ones(CLASSES)
    likelihoods = log_softmax(20 * IMAGES.numpy() @ rows.T + offsets, axis=1)
    of_labels = likelihoods[np.arange(len(LABELS)), LABELS]
    distance = np.square(rows - TEXT.numpy()).sum()
    return float(-(weights[LABELS] * of_labels).mean() + 0.3 / CLASSES * distance)


@pytest.mark.parametrize("form", ["none", "logit_adjusted", "weights"])
def test_the_rows_are_those_that_scipy_finds_at_the_length_of_the_text(form: WantedBalance):
    rows = train_head(IMAGES, LABELS, TEXT, SCALE, class_balance(form, LABELS, CLASSES))
    start = np.zeros(CLASSES * DIM)
    found = minimize(expected_loss, start, (form,), tol=1e-10, options={"maxiter": 10_000})
    expected = found.x.reshape(CLASSES, DIM)
    length = np.linalg.norm(expected, axis=1).mean()
    assert abs(length - 1) > 0.05
    np.testing.assert_allclose(rows.numpy(), expected / length, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_features_of_any_precision_give_the_same_float32_head_each_time(precision: torch.dtype):
    images, text = IMAGES.to(precision), TEXT.to(precision)
    head = train_head(images, LABELS, text, SCALE)
    assert head.dtype == torch.float32
    assert torch.equal(head, train_head(images, LABELS, text, SCALE))
    expected = train_head(images.double(), LABELS, text.double(), SCALE).float()
    torch.testing.assert_close(head, expected, atol=2e-3, rtol=0)


def test_one_image_is_enough_and_a_diverged_model_keeps_its_text():
    balance = class_balance("logit_adjusted", LABELS[:1], CLASSES)
    head = train_head(IMAGES[:1], LABELS[:1], TEXT, SCALE, balance)
    assert head.isfinite().all()
    assert (IMAGES[0] @ head.T).argmax() == LABELS[0]
    images = IMAGES.clone()
    images[3, 2] = torch.nan
    torch.testing.assert_close(train_head(images, LABELS, TEXT, SCALE), TEXT)


UNEQUAL = torch.tensor([0, 0, 0, 1])


@pytest.mark.parametrize(
    "form, labels, changes",
    [
        ("none", UNEQUAL, False),
        ("auto", UNEQUAL, True),
        ("auto", torch.tensor([0, 0, 1]), False),
        ("auto", UNEQUAL[:0], False),
    ],
)
def test_auto_adjusts_for_unequal_classes_alone(form: WantedBalance, labels: Tensor, changes: bool):
    assert (class_balance(form, labels, 2) is not None) == changes
