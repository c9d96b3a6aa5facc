import errno
import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from study.backbones.framing import Framing
from study.data.images import table as table_module
from study.data.images.decode import ImageCache, decode_images, preprocess
from study.data.images.image_reading import ImageReading
from study.data.images.sources import FolderSource
from study.data.images.table import ImageTable, cache_fault
from study.errors import DataError
from study.storage.atomic import StorageError
from tests import miniature

PATHS = [f"{i:03d}.jpg" for i in range(150)]
SKIP = ImageReading(on_corrupt="skip")
Decode = Callable[..., Path]


@pytest.fixture
def decode(colors: Any, tmp_path: Path) -> Decode:
    """Decode paths of a source without files into a file of the test's folder."""
    return partial(decode_images, colors, cache=ImageCache(tmp_path, "my/set", size=4))


def noise(size: tuple[int, int]) -> Image.Image:
    shape = (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("size", [(40, 30), (33, 33), (8, 8), (500, 17), (17, 500)])
def test_preprocessing_is_clips(size: tuple[int, int]):
    resized = v2.Resize(33, v2.InterpolationMode.BICUBIC, antialias=True)(noise(size))
    ours = preprocess(noise(size), size=33, keep_aspect=False)
    assert np.array_equal(ours, np.asarray(v2.CenterCrop(33)(resized)))


def test_keeping_the_aspect_keeps_whole_images_of_bounded_size():
    for size, shape in (((15, 12), (12, 15, 3)), ((60, 40), (20, 30, 3)), ((9, 400), (400, 9, 3))):
        assert preprocess(noise(size), size=10, keep_aspect=True).shape == shape


def test_a_file_holds_every_image_once_in_order_and_is_used_again(
    decode: Decode, colors: Any, tmp_path: Path
):
    counts: list[tuple[int, ...]] = []
    file = decode([*PATHS, PATHS[0]], progress=lambda *n: counts.append(n))
    assert counts == [(number, 150) for number in range(1, 151)]
    assert decode(PATHS, progress=lambda *n: counts.append(n)) == file
    assert counts[150:] == [(150, 150)]
    assert ImageTable(file).paths == PATHS
    assert len(colors.opened) == 150
    assert file.name.startswith("my-set-4-square-")
    assert list(tmp_path.iterdir()) == [file]
    assert cache_fault(file, PATHS[1:]) == "it holds other images"


def test_other_images_sizes_and_forms_get_files_of_their_own(colors: Any, tmp_path: Path):
    cache, clip, paths = ImageCache(tmp_path, "k", size=4), Framing(), PATHS[:3]
    files = [
        cache.file(colors, paths, clip),
        cache.file(colors, PATHS[:2], clip),
        cache.file(colors, paths, Framing(squash=True)),
        cache.file(colors, paths, Framing(interpolation="bilinear")),
        replace(cache, size=5).file(colors, paths, clip),
        replace(cache, key="other").file(colors, paths, clip),
        replace(cache, keep_aspect=True).file(colors, paths, clip),
    ]
    assert len({*files}) == 7


def decoder(place: Path, images: int = 2) -> Callable[[], Path]:
    """Write images; return what decodes them into a file."""
    paths = [f"{number}.png" for number in range(images)]
    for number, path in enumerate(paths):
        miniature.save(place / "set" / path, number % 7, number)
    cache = ImageCache(place / "cache", "set", size=8)
    return partial(decode_images, FolderSource(place / "set"), paths, cache, reading=SKIP)


def test_an_image_that_was_changed_is_decoded_again(tmp_path: Path):
    decode_all = decoder(tmp_path)
    first = decode_all()
    miniature.save(tmp_path / "set" / "0.png", 2, 2)
    assert ImageTable(first).content_hash != ImageTable(decode_all()).content_hash


def test_a_flipped_bit_anywhere_is_a_fault_or_changes_nothing(decode: Decode):
    def contents() -> tuple[list[Any], list[str]]:
        table = ImageTable(file)
        return [batch.to_pylist() for batch in table.batches], table.skipped

    paths = ["bad.jpg", *PATHS[:70]]
    file = decode(paths, reading=SKIP)
    whole, sound = file.read_bytes(), contents()
    chance, faults = random.Random(5), 0
    for _ in range(400):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.unlink()  # the old one may still be mapped
        file.write_bytes(spoiled)
        table_module._hash_of.cache_clear()  # a clock may be too coarse for so many
        if cache_fault(file, paths) is None:
            assert contents() == sound
        else:
            faults += 1
    assert faults > 100
    file.unlink()
    file.write_bytes(whole[:-100])
    assert decode(paths, reading=SKIP).read_bytes() == whole, "a damaged file is made again"


def test_a_corrupt_image_is_fatal_and_leaves_nothing_behind(decode: Decode, tmp_path: Path):
    with pytest.raises(DataError, match=r"bad\.jpg: .*--check --images .*data\.on_corrupt=skip"):
        decode(["a.jpg", "bad.jpg", "c.jpg"])
    with pytest.raises(DataError, match="none of 2 images is readable"):
        decode(["bad1", "bad2"], reading=SKIP)
    assert not list(tmp_path.iterdir())


def test_corrupt_images_are_left_out_on_request_and_reported_at_each_use(
    decode: Decode, colors: Any, caplog: pytest.LogCaptureFixture
):
    paths = ["a.jpg", "bad1.jpg", "c.jpg", "bad2.jpg"]
    for _ in range(2):
        caplog.clear()
        table = ImageTable(decode(paths, reading=SKIP))
        assert "bad1.jpg" in caplog.text
        assert "bad2.jpg" in caplog.text
    assert (table.paths, table.skipped) == (["a.jpg", "c.jpg"], ["bad1.jpg", "bad2.jpg"])
    assert colors.opened.count("a.jpg") == 1
    with pytest.raises(DataError, match=r"no pixels of 'bad1\.jpg'.*unreadable when"):
        table.pixels(paths[:2])
    with pytest.raises(DataError, match=r"bad1\.jpg"):
        decode(paths)


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(
    decode: Decode, tmp_path: Path
):
    left, written = tmp_path / ".k-4.arrow.1.tmp", tmp_path / ".k-4.arrow.2.tmp"
    other = tmp_path / ".other.tmp"  # of another program
    for path in (left, written, other):
        path.touch()
    for path in (left, other):
        os.utime(path, (0, 0))
    file = decode(PATHS[:3])
    assert sorted(tmp_path.iterdir()) == [written, other, file]


def test_storage_that_stumbles_is_no_corrupt_image_that_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stumble(*_: Any, **__: Any):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Image, "open", stumble)
    with pytest.raises(StorageError, match=r"0\.png cannot be read"):
        decoder(tmp_path)()
    assert not list((tmp_path / "cache").iterdir())
