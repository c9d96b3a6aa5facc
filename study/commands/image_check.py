"""A check of the images of a study before it starts: a sample of them, or all."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from study.commands.start_warnings import Pixels
from study.data.images.rgb import HIGHEST, dark_images
from study.data.records import Dataset, ImageSource, keyed_order, listed
from study.errors import DataError, Fault
from study.process.terminal_table import amount
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


@dataclass(frozen=True)
class ImageCheck:
    """What decoding images of a study's datasets has found."""

    described: str
    """How many images were decoded."""
    faults: Sequence[Fault]
    warnings: Sequence[str]
    pixels: Pixels
    seconds: float
    """The mean time of decoding an image."""


def decode_images(study: Study, *, every: bool) -> ImageCheck:
    """Decode images of a study's datasets, under a bar on the error output.

    Args:
        study: the study.
        every: whether to decode all images, instead of `SAMPLE` of each dataset.
    """
    datasets = [study.dataset, *study.targets()]
    samples = [_paths(dataset, every=every) for dataset in datasets]
    tried = sum(map(len, samples))
    unreadable: list[str] = []
    warnings: list[str] = []
    pixels: dict[str, dict[str, bytes]] = {}
    began = time.monotonic()
    console = Console(stderr=True)
    # Where that is no terminal, rich would write an empty line.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("decoding", total=tried)
        for dataset, paths in zip(datasets, samples, strict=True):
            images = []
            for image in _decode_all(dataset.source, paths):
                bar.advance(task)
                images.append(image)
            unreadable += [image.fault for image in images if image.fault]
            dark = dark_images(max((image.highest for image in images), default=0))
            if dark:
                warnings.append(f"{dataset.name}: {dark}")
            if len(paths) == len(_paths(dataset, every=True)):
                pixels[dataset.name] = {one.path: one.digest for one in images if not one.fault}
    seconds = (time.monotonic() - began) / max(1, tried)
    text = f"all {amount(tried, 'image')}"
    if len(pixels) < len(datasets):
        text = f"a sample of {amount(tried, 'image')} (--images decodes all)"
    faults = []
    if unreadable:
        counts = f"{format_count(len(unreadable))} of {format_count(tried)}"
        sentence = f"{counts} images cannot be read: {listed(unreadable)}"
        if study.config.data.on_corrupt == "skip":
            warnings.append(f"{sentence}; the study leaves them out")
        else:
            message = f"{sentence}; data.on_corrupt=skip leaves such images out"
            if not every:
                message += "; --check --images tries all"
            faults.append(Fault("data", message))
    return ImageCheck(text, faults, warnings, pixels, seconds)


def _paths(dataset: Dataset, *, every: bool) -> list[str]:
    """Return the images to decode: all of them, or a sample."""
    splits = (dataset.train, dataset.val, dataset.test)
    paths = dict.fromkeys(record.path for records in splits for record in records)
    if every:
        return list(paths)
    return keyed_order(paths, "a look at the images")[:SAMPLE]


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
    return Decoded(path, None, digest, image.info.get(HIGHEST, 0))
