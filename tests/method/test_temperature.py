"""One temperature makes probabilities the shares of images that are right."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from study.method.temperature import Labelled, fit_temperature, negative_log_likelihood


def drawn(images: int, scale: float) -> Labelled:
    """Logits that are `scale` times as large as the ones that labels are drawn by."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(images, 5, generator=generator)
    labels = torch.multinomial(true.softmax(dim=-1), 1, generator=generator).squeeze(1)
    return Labelled(scale * true, labels)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_temperature_is_by_how_much_logits_are_too_large(scale: float):
    groups = [drawn(20_000, scale)]
    assert fit_temperature(groups) == pytest.approx(scale, rel=0.05)


@given(st.floats(0.2, 5.0))
def test_no_other_temperature_is_more_likely(other: float):
    groups = [drawn(50, 3.0), drawn(20, 2.0)]
    best = fit_temperature(groups)
    assert negative_log_likelihood(groups, best) <= negative_log_likelihood(groups, other) + 1e-6


def test_images_that_are_all_right_have_the_lowest_temperature():
    sure = Labelled(torch.eye(3), torch.arange(3))
    assert fit_temperature([sure]) == pytest.approx(1 / 20, rel=1e-3)
