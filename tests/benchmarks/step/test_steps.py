"""The staged step is the plain one up to rounding."""

import pytest
import torch

from tests.benchmarks.step.random_clip import EXACT, largest_distance
from tests.benchmarks.step.steps import gradients


@pytest.mark.long
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-5), (EXACT, 1e-10)])
def test_gradients_at_the_papers_size_are_those_of_the_plain_pass(
    precision: str, tolerance: float
) -> None:
    torch.set_num_threads(1)
    plain, staged = gradients(4, subset="clipfit", classes=20, precision=precision)
    assert largest_distance(staged, plain) < tolerance
