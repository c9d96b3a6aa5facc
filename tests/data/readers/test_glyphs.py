"""The packaged datasets: the digits of scikit-learn, and glyphs."""

from collections import Counter

import numpy as np
import sklearn.datasets

from study.data.datasets import load_dataset
from study.data.readers import glyphs
from study.data.records import keyed_order


def test_the_digits_are_those_that_scikit_learn_loads():
    pixels, labels = glyphs.read_digits()
    strokes, digits = sklearn.datasets.load_digits(return_X_y=True)
    assert np.array_equal(labels, digits)
    assert np.array_equal(pixels, np.round(strokes * (255 / 16)).reshape(-1, 8, 8))


def test_the_digits_are_halved_by_class_in_a_fixed_way():
    dataset = load_dataset("digits")
    assert dataset.class_names[:2] == ("digit zero", "digit one")
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [896, 0, 901]
    train, test = (Counter(r.label for r in part) for part in (dataset.train, dataset.test))
    assert {test[label] - train[label] for label in range(10)} == {0, 1}
    first = keyed_order((r.path for r in dataset.test), "pin")[:3]
    assert first == ["digits/1660", "digits/1068", "digits/0199"]


def test_the_glyphs_have_digits_and_letters_in_both_splits_and_halves():
    dataset = load_dataset("glyphs")
    for records in (dataset.train, dataset.test):
        assert {record.label for record in records} == {*range(36)}
    for half in (dataset.class_names[:18], dataset.class_names[18:]):
        kinds = Counter(name.split()[0] for name in {*half})
        assert kinds == {"digit": 5, "capital": 12, "small": 1}
