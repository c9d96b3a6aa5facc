"""The handwritten digits, read from scikit-learn's file without importing it."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from study.data.readers import digits
from study.data.readers.digits import read_digits


def test_the_digits_are_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    bunch = load_digits()
    assert images.shape == (1797, 8, 8)
    assert np.array_equal(images, bunch.images)
    assert np.array_equal(labels, bunch.target)
    assert (images.dtype, labels.dtype) == (np.float64, np.int64)
    assert (images.min(), images.max()) == (0, 16)


@pytest.mark.parametrize("package", [None, SimpleNamespace(origin="/nowhere/__init__.py")])
def test_where_the_file_has_no_such_place_scikit_learn_is_asked(
    package: SimpleNamespace | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = SimpleNamespace(images=np.ones((2, 8, 8)), target=np.array([3, 4]))
    monkeypatch.setattr(digits, "find_spec", lambda _: package)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: theirs)
    images, labels = read_digits()
    assert images is theirs.images
    assert labels is theirs.target


def test_reading_the_digits_does_not_import_scikit_learn() -> None:
    code = (
        "import sys; from study.data.readers.digits import read_digits; read_digits();"
        "sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
