"""Files are labelled as the classifier labels images, in order, and none is left out."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from study.data.datasets import load_dataset
from study.errors import DataError
from study.method.staged import StagedClassifier
from study.serving.classifier import TunedClassifier, load_classifier
from study.serving.labelling import label_image_files, list_image_files
from tests.data.reading import add


@pytest.fixture(scope="module")
def classifier(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> TunedClassifier:
    study = finish(tmp_path_factory.mktemp("labelling"), "mine")
    return load_classifier(study.folder.trial("test-best-seed1").path / "delta.safetensors")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Nine files of digits, which differ in form, size and depth."""
    folder = tmp_path_factory.mktemp("digits")
    paths = [
        folder / f"{number}.{suffix}" for number, suffix in enumerate(["png", "jpg", "bmp"] * 3)
    ]
    dataset = load_dataset("digits")
    for number, path in enumerate(paths):
        image = dataset.source.open_image(dataset.test[number].path).resize((20 + 5 * number, 31))
        image.convert(("RGB", "L")[number % 2]).save(path)
    return paths


@pytest.mark.parametrize("batch_size, top", [(1, 10), (4, 3), (64, 99)])
def test_each_image_has_its_most_probable_classes_or_its_fault_whatever_the_batch(
    classifier: TunedClassifier, digits: list[Path], tmp_path: Path, batch_size: int, top: int
):
    strange = tmp_path / os.fsdecode(b"\xff.png")
    shutil.copy(digits[0], strange)
    paths = [tmp_path / "none.png", strange, *digits]
    faulty, *found = label_image_files(classifier, paths, top=top, batch_size=batch_size)
    # The row has the path already.
    assert faulty == [paths[0], *[None] * (2 * top), "no such image"]
    for path, one, row in zip(paths[1:], found, classifier.probabilities(paths[1:]), strict=True):
        assert (one[0], one[-1]) == (path, None)
        names: Any = one[1:-1:2]
        values: Any = one[2:-1:2]
        highest = row.topk(min(top, 10)).values
        own = row[[classifier.class_names.index(name) for name in names]]
        for expected in (highest, own):
            torch.testing.assert_close(torch.tensor(values), expected, atol=1e-6, rtol=1e-5)
    assert len({one[1] for one in found}) > 1, "else the order shows nothing"


def test_a_batch_that_does_not_fit_into_memory_leads_to_the_option(
    classifier: TunedClassifier, digits: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object):
        raise torch.OutOfMemoryError("of CUDA")

    monkeypatch.setattr(StagedClassifier, "encode_image", fail)
    with pytest.raises(DataError, match=r"9 images at once .* memory of cpu; .* --batch-size"):
        list(label_image_files(classifier, digits, top=1, batch_size=64))


def test_a_folder_is_walked_in_sorted_order_and_links_are_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "set"
    wanted = ["B.PNG", "a/10.jpeg", "a/9.webp", "a/b/0.tif", "a.gif", "b.JFIF", "c.jpe"]
    add(root, *wanted, "notes.txt", "png", ".hidden.png", "a/x.npy")
    add(root, ".folder/1.png", "__MACOSX/2.png", "../elsewhere/2.png")
    (root / "empty").mkdir()
    (root / "a" / "up").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    for name in ("y", "z"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    images, left_out = list_image_files(root)
    assert [path.relative_to(root).as_posix() for path in images] == [*wanted, "y/2.png"]
    assert left_out == {".txt": 1, "": 2, ".npy": 1}
    monkeypatch.chdir(root)
    assert list_image_files(Path("a"))[0][0] == Path("a/10.jpeg"), "as the folder was named"
