"""A look at images before a study: all, or a sample, and what is said of those at fault."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from study.commands import image_check
from study.commands.image_check import decode_images
from study.config.loading import build_config
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.image_folders import image_folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "pets", number=5)


def study(images: Path, **data: Any) -> Study:
    values = {"dataset": "pets", "root": str(images), "shots": 1, **data}
    storage = images.parent / "runs"
    config = build_config({"name": "mine", "storage": str(storage), "data": values}, "here")
    return Study(config, StudyFolder(storage / "mine"))


def spoil(images: Path, *names: str):
    for name in names:
        path = images / name
        path.write_bytes(path.read_bytes()[:40])


def test_all_images_or_a_sample_of_them_are_decoded(images: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_check, "SAMPLE", 3)
    found = decode_images(study(images), every=False)
    assert (found.faults, found.warnings, found.pixels) == ([], [], {})
    assert found.described.startswith("a sample of 3 images")
    spoil(images, "test/dog/4.png")
    (fault,) = decode_images(study(images), every=True).faults
    assert fault.key == "data"
    assert "1 of 20 images cannot be read: " in fault.message
    assert "test/dog/4.png" in fault.message
    assert not (images.parent / "runs").exists(), "nothing is written"


def test_images_that_the_study_leaves_out_are_warned_of(images: Path):
    spoil(images, "train/cat/1.png", "test/cat/0.png")
    (fault,) = decode_images(study(images), every=False).faults
    assert "data.on_corrupt=skip leaves such images out; --check --images" in fault.message
    found = decode_images(study(images, on_corrupt="skip"), every=True)
    (warning,) = found.warnings
    assert found.faults == []
    assert warning.startswith("2 of 20 images cannot be read: ")


def test_the_images_of_targets_are_decoded_too(images: Path):
    data = {"dataset": "digits", "targets": ["glyphs"], "shots": 1}
    config = build_config({"name": "mine", "protocol": "transfer", "data": data}, "here")
    found = decode_images(Study(config, StudyFolder(images.parent / "mine")), every=False)
    assert found.described.startswith("a sample of 128 images")


def test_the_same_pixels_have_the_same_hash_whatever_the_file(images: Path):
    Image.open(images / "train/cat/0.png").save(images / "test/dog/0.bmp")
    pixels = decode_images(study(images), every=True).pixels["pets"]
    assert pixels["train/cat/0.png"] == pixels["test/dog/0.bmp"]
    assert (len(pixels), len(set(pixels.values()))) == (21, 20)
