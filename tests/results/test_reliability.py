"""How probabilities fit what is right, by known answers."""

import numpy as np
import pandas as pd
import pytest

from study.results.reliability import Bin, Reliability, _reliability


def test_the_error_is_the_distance_of_bins_weighted_by_their_images():
    bins = (Bin(30, 0.6, 0.5), Bin(10, 0.9, 1.0))
    assert Reliability(0.0, bins).error == pytest.approx(0.1)


def test_images_are_binned_by_the_probability_of_their_answer():
    right = np.array([True, False, True, True])
    probabilities = pd.Series([0.52, 0.53, 0.99, 1.0])
    found = _reliability(right, probabilities, pd.Series([0.5, 0.25, 1.0, 0.5]))
    assert [(one.images, one.right) for one in found.bins] == [(2, 0.5), (2, 1.0)]
    assert found.bins[1].probability == pytest.approx(0.995)
    assert found.likelihood == pytest.approx(np.log([2, 4, 1, 2]).mean())
