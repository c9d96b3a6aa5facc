"""A check of the images of a study before it starts: a sample of them, or all."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from study.commands.start_warnings import Pixels
from study.data.images.rgb import HIGHEST, dark_images
from study.data.images.sources import is_large, large_images
from study.data.records import Dataset, ImageSource, keyed_order, listed
from study.data.survey import empty_files
from study.errors import DataError
from study.process.terminal_table import print_sentences
from study.report.formatting import format_count
from study.trial.study import Study

SAMPLE = 64
"""How many images of a dataset are decoded where not all are."""
AT_ONCE = 512
"""How many images are handed to the threads at a time, since a million would fill the memory."""
THREADS = 8


class Decoded(NamedTuple):
    """The result of decoding an image."""

    path: str
    fault: str | None = None
    """Why it cannot be read; None if it can."""
    digest: bytes = b""
    """A hash of its pixels, equal for equal pixels alone."""
    highest: int = 0
    """Its highest value, if it has 16 bits."""
    large: tuple[int, int] | None = None
    """Its width and height, if it has very many pixels."""


def check_images(study: Study, console: Console, *, every: bool) -> Pixels:
    """Decode images of a study's datasets, and print how many there were.

    Images that cannot be read are printed where the study leaves them out, and so is a dataset
    whose images are nearly black.

    Args:
        study: the study.
        console: where the result is printed, and the progress shown.
        every: whether to decode all images, instead of `SAMPLE` of each dataset.

    Returns:
        A hash of the pixels of each image, by dataset and path. A dataset is left out unless
        all its images were decoded.

    Raises:
        DataError: images cannot be read and the study would fail; the message names some.
    """
    datasets = [study.dataset, *study.targets()]
    samples = [_paths(dataset, every=every) for dataset in datasets]
    tried = sum(map(len, samples))
    faults = []
    pixels = {}
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding", total=tried)
        for dataset, paths in zip(datasets, samples, strict=True):
            digests = {}
            large = {}
            highest = 0
            for image in _decode_all(dataset.source, paths):
                bar.advance(task)
                if image.fault:
                    faults.append(image.fault)
                else:
                    digests[image.path] = image.digest
                    highest = max(highest, image.highest)
                if image.large:
                    large[image.path] = image.large
            for warning in (dark_images(highest), large_images(large)):
                if warning:
                    print_sentences(console, f"{dataset.name}: {warning}", "yellow")
            if len(paths) == len(_paths(dataset, every=True)):
                pixels[dataset.name] = digests
    if faults:
        _report_unreadable(study, console, faults, tried, every=every)
        return pixels
    text = f"all {format_count(tried)} images were decoded"
    if len(pixels) < len(datasets):
        text = f"a sample of {format_count(tried)} images was decoded (--images decodes all)"
    console.print(text, highlight=False)
    return pixels


def _report_unreadable(
    study: Study, console: Console, faults: list[str], tried: int, *, every: bool
) -> None:
    """Print which images cannot be read, or raise if the study would fail."""
    counts = f"{format_count(len(faults))} of {format_count(tried)}"
    sentence = f"{counts} images cannot be read: {listed(faults)}"
    if study.config.data.on_corrupt == "fail":
        message = f"data: {sentence}; data.on_corrupt=skip leaves such images out"
        if not every:
            message += "; --check --images tries all"
        raise DataError(message)
    print_sentences(console, f"{sentence}; the study leaves them out", "yellow")


def _paths(dataset: Dataset, *, every: bool) -> list[str]:
    """Return the images to decode: all of them, or a sample and those whose files are empty."""
    splits = (dataset.train, dataset.val, dataset.test)
    paths = dict.fromkeys(record.path for records in splits for record in records)
    if every:
        return list(paths)
    sample = keyed_order(paths, "a look at the images")[:SAMPLE]
    return list(dict.fromkeys((*sample, *empty_files(dataset))))


def _decode_all(source: ImageSource, paths: Sequence[str]) -> Iterator[Decoded]:
    """Yield the result of decoding each image."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), AT_ONCE):
            yield from pool.map(partial(_decode, source), paths[start : start + AT_ONCE])


def _decode(source: ImageSource, path: str) -> Decoded:
    try:
        image = source.open_image(path)
    except (DataError, OSError) as error:
        return Decoded(path, str(error))
    shape = f"{image.width} {image.height} ".encode()
    digest = hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest()
    large = image.size if is_large(image) else None
    return Decoded(path, None, digest, image.info.get(HIGHEST, 0), large)
