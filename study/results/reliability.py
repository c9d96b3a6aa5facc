"""How well the probabilities of the model that ships fit the share of images that are right.

Sources: Guo et al. 2017, "On Calibration of Modern Neural Networks", for the expected calibration
error (ECE) in bins of equal width.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.results.study_results import Results
from study.trial.predictions import read_predictions

BINS = 15
"""The number of bins of equal width."""


class Bin(NamedTuple):
    """The images whose probability is in one bin."""

    images: int
    probability: float
    """The mean probability of the predicted classes."""
    right: float
    """The share of images that are right."""


class Reliability(NamedTuple):
    """The probabilities of one part of the test images."""

    likelihood: float
    """The mean negative log-likelihood of the true classes, in nats."""
    bins: Sequence[Bin]
    """The bins that have images, rising."""

    @property
    def error(self) -> float:
        """The ECE: the mean distance of probability and share, weighted by images; a fraction."""
        images = sum(one.images for one in self.bins)
        return sum(one.images * abs(one.probability - one.right) for one in self.bins) / images


class Calibration(NamedTuple):
    """The probabilities of a part of the test, without and with the temperature."""

    part: str
    before: Reliability
    after: Reliability


def calibrations(results: Results, trial_id: str) -> list[Calibration]:
    """Return the calibration of each part of the test; empty unless the trial is a refit with one.

    Raises:
        LedgerError: the predictions are damaged.
    """
    by_part = defaultdict(list)
    for prediction in read_predictions(results.folder, trial_id):
        if prediction.scaled_probability is not None:
            by_part[prediction.part].append(prediction)
    found = []
    for part, rows in by_part.items():
        right = np.array([row.predicted == row.label for row in rows])
        table = pd.DataFrame(rows)
        before = _reliability(right, table["probability"], table["true_probability"])
        after = _reliability(right, table["scaled_probability"], table["scaled_true_probability"])
        found.append(Calibration(part, before, after))
    return found


def _reliability(right: np.ndarray, probabilities: pd.Series, true: pd.Series) -> Reliability:
    """Return how probabilities fit.

    Args:
        right: whether each image is right, (images,) bool.
        probabilities: that of each predicted class.
        true: that of each true class.
    """
    of_predicted = probabilities.astype(float).fillna(0.0).to_numpy()
    numbers = np.minimum((of_predicted * BINS).astype(int), BINS - 1)
    bins = []
    for number in np.unique(numbers):
        inside = numbers == number
        bins.append(
            Bin(int(inside.sum()), float(of_predicted[inside].mean()), float(right[inside].mean()))
        )
    of_true = true.astype(float).fillna(0.0).to_numpy()
    # float32 rounds the least probabilities to 0.
    likelihood = -np.log(np.maximum(of_true, np.finfo(np.float32).tiny)).mean()
    return Reliability(float(likelihood), bins)
