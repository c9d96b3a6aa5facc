"""Files are labelled as the classifier labels images, in order, and none is left out."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from study.data.datasets import load_dataset
from study.errors import DataError
from study.serving.classifier import TunedClassifier, load_classifier
from study.serving.labelling import label_image_files, list_image_files
from study.storage.atomic import StorageError


@pytest.fixture(scope="module")
def classifier(
    finish: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> TunedClassifier:
    study = finish(tmp_path_factory.mktemp("labelling"), "mine")
    return load_classifier(study.folder.trial("confirm-best-seed1").path / "delta.safetensors")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Nine files of digits, which differ in form, size and depth."""
    folder = tmp_path_factory.mktemp("digits")
    dataset = load_dataset("digits")
    paths = []
    for number, (record, suffix) in enumerate(
        zip(dataset.test, ["png", "jpg", "bmp"] * 3, strict=False)
    ):
        image = dataset.source.open_image(record.path).resize((20 + 5 * number, 31))
        paths.append(folder / f"{number}.{suffix}")
        image.convert("L" if number % 2 else "RGB").save(paths[-1])
    return paths


@pytest.mark.parametrize("batch_size", [1, 4, 9, 64])
def test_probabilities_are_those_of_the_classifier_whatever_the_batch(
    classifier: TunedClassifier, digits: list[Path], batch_size: int
) -> None:
    expected = classifier.probabilities(digits)
    found = list(label_image_files(classifier, digits, top=10, batch_size=batch_size))
    assert [one.path for one in found] == digits
    for one, row in zip(found, expected, strict=True):
        values = dict(one.classes)
        assert one.error is None
        assert list(values.values()) == sorted(values.values(), reverse=True)
        own = torch.tensor([values[name] for name in classifier.class_names])
        torch.testing.assert_close(own, row, atol=1e-6, rtol=1e-5)
    assert len({one.classes[0][0] for one in found}) > 1, "else the order shows nothing"


def test_only_the_most_probable_classes_are_named(
    classifier: TunedClassifier, digits: list[Path]
) -> None:
    whole = label_image_files(classifier, digits, top=10, batch_size=9)
    for top in (1, 3, 99):
        found = label_image_files(classifier, digits, top=top, batch_size=9)
        for one, all_of_it in zip(found, whole, strict=False):
            assert one.classes == all_of_it.classes[:top]


def test_equal_probabilities_leave_the_classes_in_their_order(
    classifier: TunedClassifier, digits: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    even = torch.full((1, 10), 0.1)
    monkeypatch.setattr(TunedClassifier, "batch_probabilities", lambda *_: even)
    (one,) = label_image_files(classifier, digits[:1], top=3, batch_size=1)
    assert [name for name, _ in one.classes] == ["digit zero", "digit one", "digit two"]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_an_image_that_cannot_be_read_keeps_its_place_and_its_fault(
    classifier: TunedClassifier, digits: list[Path], tmp_path: Path, batch_size: int
) -> None:
    strange = os.fsdecode(b"\xff.png")
    faults = {
        "broken.png": "not a readable image (",
        "none.png": "no such image",
        "cut.png": "not a readable image (",
        "pipe.png": "not a file but a named pipe",
        strange: "its path is not UTF-8 text; rename it",
    }
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "cut.png").write_bytes(digits[0].read_bytes()[:60])
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("L", (9, 9)).save(tmp_path / strange)
    first, *rest = (tmp_path / name for name in faults)
    paths = [first, digits[0], *rest, digits[1]]
    found = list(label_image_files(classifier, paths, top=1, batch_size=batch_size))
    assert [one.path for one in found] == paths
    labelled = [one for one in found if one.classes]
    assert [one.path for one in labelled] == digits[:2]
    told = [one.error or "" for one in found if not one.classes]
    for error, start in zip(told, faults.values(), strict=True):
        assert error.startswith(start), "the row has the path already"
    alone = classifier.probabilities(digits[:2]).amax(dim=1)
    certain = torch.tensor([one.classes[0][1] for one in labelled])
    torch.testing.assert_close(certain, alone, atol=1e-6, rtol=1e-5)


def test_an_image_that_storage_does_not_give_is_told_too(
    classifier: TunedClassifier, digits: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(StorageError):
        classifier.read_pixels(digits[0])
    (one,) = label_image_files(classifier, digits[:1], top=1, batch_size=1)
    assert "Input/output error" in (one.error or "")


def test_no_more_than_two_batches_are_taken_at_once(
    classifier: TunedClassifier, digits: list[Path]
) -> None:
    left = iter(digits)
    found = label_image_files(classifier, left, top=1, batch_size=2)
    for _ in range(3):
        next(found)
    assert len(list(left)) == len(digits) - 6


def test_a_batch_that_does_not_fit_into_memory_leads_to_the_option(
    classifier: TunedClassifier, digits: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TunedClassifier, "batch_probabilities", fill)
    with pytest.raises(DataError, match=r"9 images at once .* memory of cpu; .* --batch-size"):
        list(label_image_files(classifier, digits, top=1, batch_size=64))

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of the code")

    monkeypatch.setattr(TunedClassifier, "batch_probabilities", fail)
    with pytest.raises(RuntimeError, match="of the code"):
        list(label_image_files(classifier, digits, top=1, batch_size=64))


def test_a_folder_is_walked_in_sorted_order(tmp_path: Path) -> None:
    wanted = ["B.PNG", "a/10.jpeg", "a/9.webp", "a/b/0.tif", "a.gif", "b.JFIF", "c.jpe"]
    others = ["notes.txt", "png", ".hidden.png", ".folder/1.png", "__MACOSX/2.png", "a/x.npy"]
    for name in (*wanted, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    images, left_out = list_image_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in images] == wanted
    assert left_out == {".txt": 1, "": 1, ".npy": 1}
    (tmp_path / "empty").mkdir()
    assert list_image_files(tmp_path / "empty") == ([], {})


def test_paths_begin_with_the_folder_as_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert list_image_files(Path("a")) == ([Path("a/1.png")], {})
    assert list_image_files(Path()) == ([Path("a/1.png")], {})


def test_links_to_folders_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    for name in ("set/a/1.png", "elsewhere/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "z").symlink_to(tmp_path / "elsewhere")
    images, _ = list_image_files(tmp_path / "set")
    found = [path.relative_to(tmp_path).as_posix() for path in images]
    assert found == ["set/a/1.png", "set/z/2.png"]
    (tmp_path / "set" / "self").symlink_to(tmp_path / "set" / "self")
    (tmp_path / "set" / "gone.txt").symlink_to(tmp_path / "nowhere")
    more, others = list_image_files(tmp_path / "set")
    broken = {path.name for path in set(more) - set(images)}
    assert broken == {"self", "gone.txt"}
    assert not others


def test_a_folder_that_may_not_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="may not be listed"):
        list_image_files(tmp_path)
