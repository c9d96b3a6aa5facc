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
    monkeypatch.setattr(glyphs, "find_spec", lambda _: package)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: theirs)
    images, labels = read_digits()
    assert images is theirs.images
    assert labels is theirs.target


def test_reading_the_digits_does_not_import_scikit_learn() -> None:
    code = (
        "import sys; from study.data.readers.glyphs import read_digits; read_digits();"
        "sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
        image = dataset.source.open_image(record.path)
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
    assert dataset.source.open_image(records[0].path).size == (8, 8)
    assert not dataset.val


@pytest.mark.parametrize("split", ["train", "test"])
def test_letters_are_the_same_at_every_call(split: glyphs.Split) -> None:
    first, labels = glyphs.letter_images(split)
    second, _ = glyphs.letter_images(split)
    assert np.array_equal(first, second)
    assert first.shape == (60 * len(glyphs.LETTERS), 8, 8)
    assert first.dtype == np.uint8
    assert np.bincount(labels).tolist() == [60] * len(glyphs.LETTERS)


def test_no_image_is_both_in_train_and_in_test() -> None:
    train, _ = glyphs.glyph_images("train")
    test, _ = glyphs.glyph_images("test")
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_letters_differ_within_a_class_and_are_not_blank() -> None:
    images, labels = glyphs.letter_images("train")
    assert len({image.tobytes() for image in images}) == len(images)
    assert (images.reshape(len(images), -1).max(axis=1) > 100).all()
    assert len(labels) == len(images)


def test_both_halves_of_the_classes_hold_digits_and_letters() -> None:
    names = glyphs.GLYPH_CLASS_NAMES
    assert len(names) == len(set(names)) == 36
    for half in (names[:18], names[18:]):
        assert sum(name.startswith("digit") for name in half) == 5
        assert sum(name.startswith("capital letter") for name in half) == 12
        assert sum(name.startswith("small letter") for name in half) == 1


def test_a_glyph_is_drawn_white_on_black_within_its_margin() -> None:
    picture = glyphs.render_glyph(glyphs.FONTS[0], "A", 32, margin=3)
    assert picture.shape == (32, 32)
    assert picture.max() > 200
    assert picture[:3].max() == picture[-3:].max() == 0
    assert picture[:, :3].max() == picture[:, -3:].max() == 0
