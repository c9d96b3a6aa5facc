"""Many image files labelled by a tuned classifier, a batch at a time."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.data.images.sources import IMAGE_SUFFIXES, LONGEST
from study.data.readers.own import is_folder, visible
from study.data.records import is_text
from study.errors import DataError, StudyError
from study.serving.classifier import TunedClassifier
from study.trial.machine_faults import is_out_of_memory


@dataclass(frozen=True)
class LabelledImage:
    """What a classifier takes an image for, or why it could not be read."""

    path: Path
    """The file."""
    classes: tuple[tuple[str, float], ...] = ()
    """The most probable classes with their probabilities, the most probable first; empty where the
    image could not be read."""
    error: str | None = None
    """Why the image could not be read, without its path."""


def list_image_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the image files in a folder and its folders, by their suffixes, and what others are.

    Hidden files and folders are passed over, as in datasets. A link to a folder is followed unless
    it leads to a folder that it is in. A broken link counts as an image, whatever its
    name, so that it is told as one that cannot be read.

    Returns:
        The paths, each of which begins with ``folder``, sorted by their parts; and the numbers of
        the other files, by suffix.

    Raises:
        DataError: a folder may not be listed.
    """
    images: list[Path] = []
    others: Counter[str] = Counter()
    for file in _files_below(folder, above=frozenset()):
        suffix = file.suffix.lower()
        if suffix in IMAGE_SUFFIXES or _leads_nowhere(file):
            images.append(file)
        else:
            others[suffix] += 1
    return images, others


def _leads_nowhere(path: Path) -> bool:
    """Return whether a path is a link to nothing, or to itself."""
    try:
        path.stat()
    except OSError:
        return path.is_symlink()
    return False


def _files_below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    for entry in sorted(visible(folder), key=lambda entry: entry.name):
        if _is_folder(entry):
            yield from _files_below(folder / entry.name, above | {here})
        else:
            yield folder / entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(DataError):  # a link that leads to itself
        return is_folder(entry)
    return False


def label_images(
    classifier: TunedClassifier, paths: Iterable[Path], *, top: int, batch_size: int
) -> Iterator[LabelledImage]:
    """Yield what a classifier takes each image for, in the order of the paths.

    Threads decode one batch while the classifier is at the one before, so at most two batches are
    in memory. Probabilities are those of `TunedClassifier.probabilities`.

    Args:
        classifier: the classifier.
        paths: the files, whatever their suffixes.
        top: how many classes to name, at most all.
        batch_size: the number of images that are encoded at once.

    Raises:
        DataError: a batch does not fit into memory.
    """
    remaining = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:

        def decode() -> list[tuple[Path, Future[NDArray[np.uint8] | str]]]:
            batch = islice(remaining, batch_size)
            return [(path, pool.submit(_pixels_or_fault, classifier, path)) for path in batch]

        ahead = decode()
        try:
            while batch := ahead:
                decoded = [(path, future.result()) for path, future in batch]
                ahead = decode()
                yield from _label(classifier, decoded, top)
        finally:
            pool.shutdown(cancel_futures=True)  # where nobody asks for the rest


def _pixels_or_fault(classifier: TunedClassifier, path: Path) -> NDArray[np.uint8] | str:
    if not is_text(str(path)):
        return "its path is not UTF-8 text; rename it"
    try:
        return classifier.pixels(path)
    except StudyError as error:
        return str(error).removeprefix(f"{str(path)[:LONGEST]}: ")


def _label(
    classifier: TunedClassifier, batch: list[tuple[Path, NDArray[np.uint8] | str]], top: int
) -> Iterator[LabelledImage]:
    readable = [pixels for _, pixels in batch if not isinstance(pixels, str)]
    try:
        rows = classifier.batch_probabilities(readable)
    except Exception as error:  # PyTorch has several types for it
        if not is_out_of_memory(error):
            raise
        raise DataError(
            f"{len(readable)} images at once do not fit into the memory of "
            f"{classifier.model.device}; allowed is a smaller --batch-size"
        ) from error
    # Of equal probabilities, the first class comes first, whatever the device.
    values, order = (found[:, :top].tolist() for found in rows.sort(descending=True, stable=True))
    ranked = (
        tuple(zip((classifier.class_names[index] for index in ids), row, strict=True))
        for ids, row in zip(order, values, strict=True)
    )
    for path, pixels in batch:
        if isinstance(pixels, str):
            yield LabelledImage(path, error=pixels)
        else:
            yield LabelledImage(path, next(ranked))
