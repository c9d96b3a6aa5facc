"""The packaged datasets: digits read from scikit-learn's file without importing it, and glyphs."""

import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from study.data.datasets import load_dataset
from study.data.readers import glyphs
from study.data.readers.glyphs import read_digits
from study.data.records import keyed_order

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_the_digits_are_those_that_scikit_learn_loads():
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    bunch = load_digits()
    assert np.array_equal(images, bunch.images)
    assert np.array_equal(labels, bunch.target)
    assert (images.dtype, labels.dtype) == (np.float64, np.int64)
    dataset = load_dataset("digits")
    for record in dataset.train[:5]:
        number = int(record.path.split("/")[1])
        pixels = np.asarray(dataset.source.open_image(record.path))
        assert np.abs(pixels[..., 0] / 255 * 16 - images[number]).max() < 0.05
        assert record.label == labels[number]


@pytest.mark.parametrize("package", [None, SimpleNamespace(origin="/nowhere/__init__.py")])
def test_where_the_file_has_no_such_place_scikit_learn_is_asked(
    package: SimpleNamespace | None, monkeypatch: pytest.MonkeyPatch
):
    theirs = SimpleNamespace(images=object(), target=object())
    monkeypatch.setattr(glyphs, "find_spec", lambda _: package)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: theirs)
    assert read_digits() == (theirs.images, theirs.target)


def test_reading_the_digits_does_not_import_scikit_learn():
    code = (
        "import sys; from study.data.readers.glyphs import read_digits; read_digits();"
        "sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_digits_are_halved_by_class_in_a_fixed_way():
    dataset = load_dataset("digits")
    assert dataset.class_names == tuple(f"digit {word}" for word in WORDS)
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [896, 0, 901]
    train, test = (Counter(r.label for r in part) for part in (dataset.train, dataset.test))
    assert {test[label] - train[label] for label in range(10)} == {0, 1}
    first = keyed_order((r.path for r in dataset.test), "pin")[:3]
    assert first == ["digits/1660", "digits/1068", "digits/0199"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_glyphs_have_36_classes_in_both_splits(split: str):
    dataset = load_dataset("glyphs")
    records = getattr(dataset, split)
    assert {record.label for record in records} == {*range(36)}
    assert dataset.source.open_image(records[0].path).size == (8, 8)
    assert not dataset.val


def test_letters_are_the_same_at_every_call_and_no_two_are_equal():
    train, labels = glyphs.letter_images("train")
    again, _ = glyphs.letter_images("train")
    test, _ = glyphs.letter_images("test")
    assert np.array_equal(train, again)
    assert (train.shape, train.dtype) == ((60 * len(glyphs.LETTERS), 8, 8), np.uint8)
    assert {*np.bincount(labels)} == {60}
    assert train.max(axis=(1, 2)).min() > 100, "none is blank"
    assert len({image.tobytes() for image in (*train, *test)}) == 2 * len(train)


def test_both_halves_of_the_classes_hold_digits_and_letters():
    names = glyphs.GLYPH_CLASS_NAMES
    assert len(names) == len(set(names)) == 36
    for half in (names[:18], names[18:]):
        kinds = Counter(name.split()[0] for name in half)
        assert kinds == {"digit": 5, "capital": 12, "small": 1}


def test_a_glyph_is_drawn_white_on_black_within_its_margin():
    picture = glyphs.render_glyph(glyphs.FONTS[0], "A", 32, margin=3)
    assert picture.shape == (32, 32)
    assert picture.max() > 200
    assert picture[3:-3, 3:-3].sum() == picture.sum()
