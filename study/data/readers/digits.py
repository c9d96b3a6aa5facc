"""scikit-learn's handwritten digits, read without importing scikit-learn, which takes a second."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGIT_NAMES = tuple(f"digit {word}" for word in DIGIT_WORDS)


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the images and labels of `sklearn.datasets.load_digits`.

    Returns:
        (1797, 8, 8) float64 counts of inked pixels in 4×4 cells, 0 to 16, and (1797,) int64 digits.
    """
    package = find_spec("sklearn")
    table = Path(package.origin or "").parent / "datasets/data/digits.csv.gz" if package else None
    if table is None or not table.is_file():
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return bunch.images, bunch.target
    rows = np.loadtxt(table, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
