import errno
import multiprocessing
import os
import random
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from torchvision.transforms import v2
from transformers import SiglipImageProcessorPil

from study.backbones.framing import Framing, Interpolation
from study.data.images import table as table_module
from study.data.images.decode import ImageCache, decode_images, preprocess
from study.data.images.image_reading import ImageReading
from study.data.images.sources import FolderSource
from study.data.images.table import ImageTable, cache_fault
from study.errors import DataError
from study.storage.atomic import StorageError

PATHS = [f"{i:03d}.jpg" for i in range(150)]
SKIP = ImageReading(on_corrupt="skip")


Decode = Callable[..., Path]


@pytest.fixture
def decode(colors: Any, tmp_path: Path) -> Decode:
    """Decode paths of a source without files into a file of the test's folder."""

    def decode_colors(paths: list[str], **options: Any) -> Path:
        names = options.keys() & {field.name for field in fields(ImageCache)}
        changes = {name: options.pop(name) for name in names}
        cache = replace(ImageCache(tmp_path, "k", size=4), **changes)
        return decode_images(colors, paths, cache, **options)

    return decode_colors


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (8, 8), (500, 17), (17, 500)])
@pytest.mark.parametrize("target", [16, 33])
def test_preprocessing_is_clips(size: tuple[int, int], target: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    clip = v2.Compose(
        [v2.Resize(target, v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(target)]
    )
    ours = preprocess(image, size=target, keep_aspect=False)
    assert ours.shape == (target, target, 3)
    assert np.array_equal(ours, np.asarray(clip(image)))


@pytest.mark.parametrize("size", [(40, 30), (17, 33), (8, 50)])
@pytest.mark.parametrize(("interpolation", "resample"), [("bicubic", 3), ("bilinear", 2)])
def test_a_squashed_image_is_that_of_siglips_own_processor(
    size: tuple[int, int], interpolation: Interpolation, resample: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    ours = preprocess(image, size=16, keep_aspect=False, framing=Framing(True, interpolation))
    side = {"height": 16, "width": 16}
    theirs = SiglipImageProcessorPil(size=side, resample=resample, do_normalize=False)
    pixels = theirs(images=image, return_tensors="np")["pixel_values"][0]
    assert np.array_equal(ours, (255 * pixels).round().astype(np.uint8).transpose(1, 2, 0))


def test_keeping_the_aspect_keeps_whole_images_of_bounded_size() -> None:
    def shape(width: int, height: int) -> tuple[int, ...]:
        return preprocess(Image.new("RGB", (width, height)), size=10, keep_aspect=True).shape

    assert shape(15, 12) == (12, 15, 3)
    assert shape(60, 40) == (20, 30, 3)
    assert shape(19, 400) == (400, 19, 3)


def test_a_file_holds_every_image_once_in_order(
    decode: Decode, colors: Any, tmp_path: Path
) -> None:
    file = decode([*PATHS, PATHS[0]], key="my/set")
    table = pa.ipc.open_file(file).read_all()
    assert table["path"].to_pylist() == PATHS
    assert set(table["height"].to_pylist()) == {4}
    assert (
        table["pixels"][7].as_py()
        == preprocess(colors.open_image(PATHS[7]), size=4, keep_aspect=False).tobytes()
    )
    assert file.name.startswith("my-set-4-square-")
    assert list(tmp_path.iterdir()) == [file]


def test_a_whole_file_is_used_again_without_opening_an_image(decode: Decode, colors: Any) -> None:
    first = decode(PATHS)
    opened = len(colors.opened)
    assert decode(PATHS) == first
    assert len(colors.opened) == opened


def test_other_images_sizes_and_forms_get_files_of_their_own(decode: Decode) -> None:
    squashed, bilinear = Framing(squash=True), Framing(interpolation="bilinear")
    options: list[dict[str, Any]] = [{"size": 5}, {"keep_aspect": True}, {"key": "other"}, {}]
    options += [{"reading": ImageReading(framing=one)} for one in (squashed, bilinear)]
    files = {decode(PATHS[:3], **own) for own in options}
    assert len(files | {decode(PATHS[:2])}) == 7


def decoder(miniature: ModuleType, place: Path) -> Callable[[], Path]:
    """Write two images; return what decodes them into a file."""
    paths = ["0.png", "1.png"]
    for number, path in enumerate(paths):
        miniature.save(place / "set" / path, number, number)
    cache = ImageCache(place / "cache", "set", size=8)
    return partial(decode_images, FolderSource(place / "set"), paths, cache, reading=SKIP)


def test_an_image_that_was_changed_is_decoded_again(miniature: ModuleType, tmp_path: Path) -> None:
    decode_all = decoder(miniature, tmp_path)
    first = decode_all()
    assert decode_all() == first
    miniature.save(tmp_path / "set" / "0.png", 2, 2)
    second = decode_all()
    assert ImageTable(first).content_hash != ImageTable(second).content_hash


@pytest.mark.parametrize("spoil", ["cut", "empty", "pixel"])
def test_a_corrupt_file_is_made_again(spoil: str, decode: Decode, colors: Any) -> None:
    file = decode(PATHS)
    whole = file.read_bytes()
    image = preprocess(colors.open_image(PATHS[9]), size=4, keep_aspect=False).tobytes()
    spoiled = {"cut": whole[:-100], "empty": b"", "pixel": whole.replace(image, image[::-1])}
    file.write_bytes(spoiled[spoil])
    assert cache_fault(file, PATHS) is not None
    assert decode(PATHS) == file
    assert cache_fault(file, PATHS) is None
    assert file.read_bytes() == whole


def test_a_flipped_bit_anywhere_is_a_fault_or_changes_nothing(decode: Decode) -> None:
    paths = ["bad.jpg", *PATHS[:70]]
    file = decode(paths, reading=SKIP)
    whole, table, skipped = file.read_bytes(), _contents(file), ImageTable(file).skipped
    chance, faults = random.Random(5), 0
    for _ in range(400):
        spoiled = bytearray(whole)
        spoiled[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.unlink()  # the old one may still be mapped
        file.write_bytes(spoiled)
        table_module._hash_of.cache_clear()  # a clock may be too coarse for so many
        if cache_fault(file, paths) is None:
            assert (_contents(file), ImageTable(file).skipped) == (table, skipped)
        else:
            faults += 1
    assert faults > 100


def _contents(file: Path) -> list[dict[str, Any]]:
    return [row for batch in ImageTable(file).batches for row in batch.to_pylist()]


def test_a_corrupt_image_is_fatal_and_leaves_nothing_behind(decode: Decode, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"bad\.jpg: not a readable image.*; --check --images .*data\.on_corrupt=skip",
    ):
        decode(["a.jpg", "bad.jpg", "c.jpg"])
    assert not list(tmp_path.iterdir())


def test_a_corrupt_image_is_skipped_by_choice_and_reported(decode: Decode) -> None:
    paths = ["a.jpg", "bad.jpg", "c.jpg"]
    file = decode(paths, reading=SKIP)
    table = ImageTable(file)
    assert table.skipped == ["bad.jpg"]
    assert [*table.paths] == ["a.jpg", "c.jpg"]
    with pytest.raises(DataError, match=r"no pixels of 'bad\.jpg'"):
        table.pixels(["a.jpg", "bad.jpg"])
    with pytest.raises(DataError, match=r"bad\.jpg"):
        decode(paths)


def test_large_images_are_reported(
    decode: Decode, colors: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = colors.open_image("a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", image.width * image.height - 1)
    decode(["a.jpg"])
    assert f"pixels: a.jpg ({image.width} × {image.height}); " in caplog.text


def test_skipped_images_are_reported_whenever_their_file_is_used(
    decode: Decode, colors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    paths, told = ["a.jpg", "bad1.jpg", "bad2.jpg"], []
    for _ in range(2):
        caplog.clear()
        decode(paths, reading=SKIP)
        told.append(caplog.messages)
    assert told[0] == [f"skipped: bad{n}.jpg: not a readable image" for n in (1, 2)]
    assert told[1] == told[0]
    assert colors.opened.count("a.jpg") == 1


def test_an_image_that_may_be_read_by_now_is_told(
    miniature: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    decode_all, open_image = decoder(miniature, tmp_path), Image.open

    def refuse(file: Path, **options: Any) -> Image.Image:
        if file.name == "1.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_image(file, **options)

    with monkeypatch.context() as patch:  # the superuser may read whatever the mode says
        patch.setattr(Image, "open", refuse)
        assert ImageTable(decode_all()).skipped == ["1.png"]
    caplog.clear()
    assert ImageTable(decode_all()).skipped == ["1.png"], (
        "a study that has begun goes on with what it had"
    )
    (told,) = caplog.messages
    assert told.startswith("skipped: 1.png: could not be read once, and can be by now; new studies")
    next((tmp_path / "cache").glob("*.arrow")).unlink()
    assert ImageTable(decode_all()).skipped == []


def test_nothing_but_corrupt_images_is_fatal_in_any_case(decode: Decode) -> None:
    with pytest.raises(DataError, match="none of 2 images is readable"):
        decode(["bad1", "bad2"], reading=SKIP)


def test_progress_is_told_to_the_end_both_times(decode: Decode) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        decode(PATHS, progress=lambda *n: told.append(n))
        assert told[-1] == (150, 150)
    assert told[:3] == [(1, 150), (2, 150), (3, 150)]


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(
    decode: Decode, tmp_path: Path
) -> None:
    left, written = tmp_path / ".k-4.arrow.1.tmp", tmp_path / ".k-4.arrow.2.tmp"
    for path in (left, written):
        path.write_bytes(b"a part")
    os.utime(left, (0, 0))
    file = decode(PATHS[:3])
    assert sorted(tmp_path.iterdir()) == [written, file]


def _decode(root: Path, cache: Path, barrier: Any, queue: Any) -> None:
    barrier.wait(timeout=30)
    paths = [f"{i}.png" for i in range(80)]
    file = decode_images(FolderSource(root), paths, ImageCache(cache, "k", size=8))
    queue.put((str(file), cache_fault(file, paths)))


def test_processes_that_decode_at_once_all_end_well(miniature: ModuleType, tmp_path: Path) -> None:
    for number in range(80):
        miniature.save(tmp_path / "set" / f"{number}.png", number % 7, number)
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(4), context.Queue()
    arguments = (tmp_path / "set", tmp_path / "cache", barrier, queue)
    processes = [context.Process(target=_decode, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(set(results)) == 1
    assert results[0][1] is None
    assert [str(path) for path in (tmp_path / "cache").iterdir()] == [results[0][0]]


def test_storage_that_stumbles_is_no_corrupt_image_that_is_left_out(
    miniature: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_all = decoder(miniature, tmp_path)

    def stumble(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", stumble)
        with pytest.raises(StorageError, match=r"0\.png cannot be read: Input/output error"):
            decode_all()
    assert len(ImageTable(decode_all()).paths) == 2
