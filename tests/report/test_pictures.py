"""Pictures in a report are small, of pixels alone, and of images that are still the same."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from study.data.datasets import load_dataset
from study.data.records import Dataset
from study.report.pictures import PICTURE_SIDE, PICTURES, Gallery, encode_picture, make_gallery
from study.results.study_results import read_results
from study.trial import Prediction
from study.trial.predictions import predictions_to_parquet
from study.trial.study import Study
from tests.changed_studies import board_of, configure, forget_images
from tests.not_none import not_none

SECRET = "taken at 52.5200 N by J. Doe"


def photograph(path: Path, color: tuple[int, int, int] = (200, 30, 30)) -> None:
    """Write a photograph of 300 × 200 pixels, with everything that cameras write beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = SECRET  # description, comment
    exif.get_ifd(0x8825)[29] = SECRET  # of the place
    image = Image.new("RGB", (300, 200), color)
    image.save(path, exif=exif, comment=SECRET, icc_profile=SECRET.encode())


def keep(folder: Path, seed: int, predictions: Sequence[Prediction]) -> None:
    trial = folder / f"trials/confirm-best-seed{seed}"
    (trial / "predictions.parquet").write_bytes(predictions_to_parquet(predictions))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of photographs of two classes."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(20):
                photograph(tmp_path / "pets" / split / name / f"{number:02}.jpg")
    return tmp_path / "pets"


@pytest.fixture
def shown(few_shot_study: Path, pets: Path) -> Path:
    """A study of these photographs, whose first three seeds take 15 cats for dogs."""
    configure(few_shot_study, "data.dataset=pets", f"data.root={pets}")
    for seed in range(1, 6):
        predictions = []
        for n in range(40):
            name = "cat" if n < 20 else "dog"
            taken = "dog" if n < 15 and seed < 4 else name
            path = f"test/{name}/{n % 20:02}.jpg"
            predictions.append(Prediction("accuracy", path, name, taken, 0.5 + n / 100))
        keep(few_shot_study, seed, predictions)
    return few_shot_study


def gallery_of(folder: Path, **known: Dataset) -> Gallery:
    return make_gallery(read_results(folder), board_of(folder), known)


def opened(address: str | None) -> Image.Image:
    head, _, text = not_none(address).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert head == f"data:image/{(image.format or '').lower()};base64"
    image.load()
    return image


def test_mistakes_are_the_surest_wrong_ones_and_doubts_the_least_sure(shown: Path) -> None:
    gallery = gallery_of(shown)
    assert gallery.seed == 1
    assert [p.path for p in gallery.mistakes] == [f"test/cat/{n:02}.jpg" for n in range(14, 2, -1)]
    assert [p.path for p in gallery.uncertain] == [f"test/cat/{n:02}.jpg" for n in range(PICTURES)]
    first = gallery.mistakes[0]
    assert (first.true, first.predicted, first.probability) == ("cat", "dog", "64.0 %")
    assert first.seeds == "wrong with 3 of 5 seeds"
    assert (len(gallery.mistakes), gallery.has_images, gallery.missing_images) == (
        PICTURES,
        True,
        0,
    )


def test_nothing_of_a_file_but_its_pixels_is_in_a_picture(shown: Path, pets: Path) -> None:
    assert SECRET.encode() in (pets / "test/cat/14.jpg").read_bytes()
    for picture in gallery_of(shown).mistakes:
        image = opened(picture.address)
        assert not image.getexif()
        assert not {"exif", "comment", "icc_profile", "xmp", "photoshop"} & image.info.keys()
        contents = base64.b64decode((picture.address or "").partition(",")[2])
        assert b"Doe" not in contents
        assert image.size == (96, 64)
        assert np.abs(np.asarray(image)[32, 48].astype(int) - (200, 30, 30)).max() < 8


@pytest.mark.parametrize(("form", "size"), [("PNG", 20), ("JPEG", 90)])
def test_words_and_profiles_that_pillow_would_copy_are_left_behind(form: str, size: int) -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("comment", SECRET)
    file = io.BytesIO()
    more = {"pnginfo": words, "comment": SECRET, "icc_profile": SECRET.encode()}
    Image.new("RGB", (size, size), "red").save(file, form, **more)
    again = Image.open(file)
    assert SECRET in str(again.info["comment"])
    address, _ = encode_picture(again)
    image = opened(address)
    assert image.format == form
    assert not image.info.keys() & {"comment", "icc_profile"}


@pytest.mark.parametrize("size", [(4000, 3000), (96, 96), (2000, 10)])
def test_pictures_are_small_whatever_the_images_are(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    address, _ = encode_picture(Image.fromarray(noise))
    assert max(opened(address).size) == PICTURE_SIDE
    assert len(address) < 12_000


def test_a_tiny_image_keeps_its_very_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    address, small = encode_picture(Image.fromarray(pixels))
    assert small
    assert (np.asarray(opened(address)) == pixels).all()


def test_an_image_that_is_gone_or_of_another_class_is_left_out(shown: Path, pets: Path) -> None:
    (pets / "test/cat/14.jpg").unlink()
    (pets / "test/cat/13.jpg").rename(pets / "test/dog/99.jpg")
    (pets / "test/cat/12.jpg").write_bytes(b"no image")
    gallery = gallery_of(shown)
    addresses = [picture.address for picture in gallery.mistakes]
    assert addresses[:3] == [None] * 3
    assert None not in addresses[3:]
    assert gallery.missing_images == 3
    assert gallery.has_images


def test_other_images_of_the_same_names_are_not_shown_under_another_class(
    shown: Path, pets: Path
) -> None:
    (pets / "test/cat").rename(pets / "test/x")
    (pets / "test/dog").rename(pets / "test/cat")
    (pets / "test/x").rename(pets / "test/dog")
    keep(shown, 1, [Prediction("accuracy", "test/cat/01.jpg", "dog", "cat", 0.9)])
    assert not gallery_of(shown).has_images


def test_a_dataset_that_was_read_is_not_read_again(
    shown: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = load_dataset("pets", pets)
    monkeypatch.setattr(Study, "dataset", lambda self: pytest.fail("read again"))
    assert gallery_of(shown, pets=known).has_images


def test_nothing_is_downloaded_for_pictures(shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(shown, "data.dataset=hf:a/b", "data.root=null")
    monkeypatch.setattr(Study, "dataset", lambda self: pytest.fail("read"))
    assert not gallery_of(shown).has_images


def test_images_of_another_dataset_are_looked_for_there(
    shown: Path, pets: Path, tmp_path: Path
) -> None:
    for name in ("wolf", "fox"):
        photograph(tmp_path / "wolves/train" / name / "0.jpg")
        photograph(tmp_path / "wolves/test" / name / "1.jpg", (10, 200, 10))
    configure(shown, "protocol=transfer", "data.targets=[wolves]")
    keep(shown, 1, [Prediction("wolves", "test/wolf/1.jpg", "wolf", "fox", 0.9)])
    wolves = load_dataset("wolves", tmp_path / "wolves")
    gallery = gallery_of(shown, pets=load_dataset("pets", pets), wolves=wolves)
    (picture,) = gallery.mistakes
    assert np.asarray(opened(picture.address))[32, 48][1] > 150


def test_one_seed_says_nothing_of_others(shown: Path) -> None:
    for seed in range(2, 6):
        (shown / f"trials/confirm-best-seed{seed}/predictions.parquet").unlink()
    assert {picture.seeds for picture in gallery_of(shown).mistakes} == {""}


def test_without_predictions_there_is_nothing(few_shot_study: Path) -> None:
    assert gallery_of(forget_images(few_shot_study)) == Gallery((), (), None)


def test_without_a_choice_there_is_nothing(unconfirmed_study: Path) -> None:
    assert gallery_of(unconfirmed_study) == Gallery((), (), None)
