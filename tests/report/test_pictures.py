"""Pictures in a report are small, of pixels alone, and of images that are still the same."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from study.report.pictures import PICTURE_SIDE, Gallery, encode_picture, make_gallery
from study.results.study_result import read_study_result
from study.trial.study import Prediction, Study
from tests.example_studies import ExampleStudy
from tests.miniature import image_folder
from tests.not_none import not_none

SECRET = "taken at 52.5200 N by J. Doe"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "pets", number=20)


@pytest.fixture
def shown(few_shot_study: Path, pets: Path) -> ExampleStudy:
    """A study of these images, whose first three seeds take 15 cats for dogs."""
    study = ExampleStudy(few_shot_study)
    study.configure("data.dataset=pets", f"data.root={pets}")
    for seed in range(1, 6):
        predictions = []
        for n in range(40):
            name = "cat" if n < 20 else "dog"
            taken = "dog" if n < 15 and seed < 4 else name
            path = f"test/{name}/{n % 20}.png"
            predictions.append(Prediction("text", "accuracy", path, name, taken, 0.5 + n / 100))
        study.predict(f"test-best-seed{seed}", predictions)
    return study


def gallery_of(study: ExampleStudy) -> Gallery:
    return make_gallery(read_study_result(study.folder.path), {})


def opened(address: str | None) -> Image.Image:
    head, _, text = not_none(address).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    assert head == f"data:image/{(image.format or '').lower()};base64"
    image.load()
    return image


def test_mistakes_are_the_surest_wrong_ones_whose_images_are_still_the_same(
    shown: ExampleStudy, pets: Path
):
    gallery = gallery_of(shown)
    assert "seed 1" in gallery.caption
    assert [p.path for p in gallery.mistakes] == [f"test/cat/{n}.png" for n in range(14, 2, -1)]
    assert gallery.mistakes[0].caption == ["predicted: dog, 64.0 %", "true: cat"]
    assert all(picture.address for picture in gallery.mistakes)
    (pets / "test/cat/14.png").unlink()
    (pets / "test/cat/13.png").rename(pets / "test/dog/99.png")
    (pets / "test/cat/12.png").write_bytes(b"no image")
    gallery = gallery_of(shown)
    assert [picture.address is None for picture in gallery.mistakes] == [True] * 3 + [False] * 9
    of_another_class = Prediction("text", "accuracy", "test/cat/1.png", "dog", "cat", 0.9)
    shown.predict("test-best-seed1", [of_another_class])
    assert [picture.address for picture in gallery_of(shown).mistakes] == [None]


@pytest.mark.parametrize("form, size", [("PNG", 20), ("JPEG", 90)])
def test_words_and_profiles_that_pillow_would_copy_are_left_behind(form: str, size: int):
    words = PngImagePlugin.PngInfo()
    words.add_text("comment", SECRET)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = SECRET  # description, comment
    exif.get_ifd(0x8825)[29] = SECRET  # of the place
    more = {"pnginfo": words, "comment": SECRET, "icc_profile": SECRET.encode(), "exif": exif}
    Image.new("RGB", (size, size), "red").save(file, form, **more)
    again = Image.open(file)
    assert SECRET in str(again.info["comment"])
    image = opened(encode_picture(again))
    assert not image.getexif()
    assert not image.info.keys() & {"comment", "icc_profile", "exif", "xmp", "photoshop"}


@pytest.mark.parametrize("size", [(800, 600), (2000, 10), (8, 8)])
def test_pictures_are_small_and_a_tiny_image_keeps_its_very_pixels(size: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = opened(encode_picture(Image.fromarray(noise)))
    assert max(picture.size) == min(PICTURE_SIDE, max(size))
    if size == (8, 8):
        assert (np.asarray(picture) == noise).all()


def test_nothing_is_downloaded_for_pictures(shown: ExampleStudy, monkeypatch: pytest.MonkeyPatch):
    shown.configure("data.dataset=hf:a/b", "data.root=null")
    monkeypatch.setattr(Study, "dataset", property(lambda self: pytest.fail("read")))
    assert not any(picture.address for picture in gallery_of(shown).mistakes)
