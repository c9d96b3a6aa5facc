"""A look at images before a study: all, or a sample, and what is said of those at fault."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from study.commands import image_check
from study.commands.image_check import check_images
from study.config.loading import build_config
from study.errors import DataError
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


def test_all_images_or_a_sample_of_them_are_decoded(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(image_check, "SAMPLE", 3)
    check_images(study(images), Console(), every=False)
    assert "a sample of 3 images" in capsys.readouterr().out
    spoil(images, "test/dog/4.png")
    with pytest.raises(DataError, match=r"1 of 20 images cannot be read: .*test/dog/4\.png"):
        check_images(study(images), Console(), every=True)
    assert not (images.parent / "runs").exists(), "nothing is written"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest resets filters
def test_large_images_are_told_in_a_line_of_ours(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    Image.new("RGB", (60, 50)).save(images / "train" / "cat" / "wide.png")
    check_images(study(images), Console(width=300), every=False)
    out = capsys.readouterr().out
    assert "pets: 1 image has more than 2,000 pixels: train/cat/wide.png (60 × 50)" in out


def test_empty_files_beyond_the_sample_are_told(images: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_check, "SAMPLE", 3)
    names = ("train/cat/0.png", "train/dog/1.png", "test/dog/4.png")
    for name in names:
        (images / name).write_bytes(b"")
    with pytest.raises(DataError) as raised:
        check_images(study(images), Console(), every=False)
    for name in names:
        assert str(raised.value).count(f"{name}: not a readable image (it is empty)") == 1


def test_a_fault_names_what_can_be_done_and_what_a_study_leaves_out_is_none(
    images: Path, capsys: pytest.CaptureFixture[str]
):
    spoil(images, "train/cat/1.png", "test/cat/0.png")
    with pytest.raises(DataError) as raised:
        check_images(study(images), Console(), every=False)
    text = str(raised.value)
    assert text.startswith("data: 2 of 20 images cannot be read: ")
    assert text.endswith("data.on_corrupt=skip leaves such images out; --check --images tries all")
    check_images(study(images, on_corrupt="skip"), Console(width=200), every=True)
    out = capsys.readouterr().out
    assert "2 of 20 images cannot be read: " in out
    assert "the study leaves them out" in out


def test_the_images_of_targets_are_looked_at_too(images: Path, capsys: pytest.CaptureFixture[str]):
    data = {"dataset": "digits", "targets": ["glyphs"], "shots": 1}
    config = build_config({"name": "mine", "protocol": "transfer", "data": data}, "here")
    check_images(Study(config, StudyFolder(images.parent / "mine")), Console(), every=False)
    assert "a sample of 128" in capsys.readouterr().out


def test_the_same_pixels_have_the_same_hash_whatever_the_file(images: Path):
    Image.open(images / "train/cat/0.png").save(images / "test/dog/0.bmp")
    pixels = check_images(study(images), Console(), every=True)["pets"]
    assert pixels["train/cat/0.png"] == pixels["test/dog/0.bmp"]
    assert (len(pixels), len(set(pixels.values()))) == (21, 20)


def test_of_a_sample_no_pixels_are_compared(images: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_check, "SAMPLE", 19)
    assert check_images(study(images), Console(), every=False) == {}
    monkeypatch.setattr(image_check, "SAMPLE", 20)
    assert set(check_images(study(images), Console(), every=False)) == {"pets"}
