from collections import Counter

import numpy as np
import pytest

from study.data.datasets import load_dataset
from study.data.records import keyed_order

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_the_digits_are_halved_by_class_in_a_fixed_way() -> None:
    dataset = load_dataset("digits")
    assert dataset.class_names == tuple(f"digit {word}" for word in WORDS)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [896, 0, 901]
    train, test = (Counter(r.label for r in part) for part in (dataset.train, dataset.test))
    assert all(0 <= test[label] - train[label] <= 1 for label in range(10))
    assert dataset.test == load_dataset("digits").test
    first = keyed_order((r.path for r in dataset.test), "pin")[:3]
    assert first == ["digits/1660", "digits/1068", "digits/0199"]


def test_a_digit_opens_as_scikit_learn_has_it() -> None:
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits")
    bunch = load_digits()
    for record in dataset.train[:5]:
        number = int(record.path.split("/")[1])
        image = dataset.source.open(record.path)
        assert (image.mode, image.size) == ("RGB", (8, 8))
        pixels = np.asarray(image)[..., 0] / 255 * 16
        assert np.abs(pixels - bunch.images[number]).max() < 0.05
        assert record.label == bunch.target[number]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_glyphs_have_36_classes_in_both_splits(split: str) -> None:
    dataset = load_dataset("glyphs")
    records = getattr(dataset, split)
    assert len(dataset.class_names) == 36
    assert {record.label for record in records} == set(range(36))
    assert dataset.source.open(records[0].path).size == (8, 8)
    assert not dataset.val
