"""Label many image files with a tuned classifier, one batch at a time."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from study.data.images.sources import LONGEST
from study.data.output_folders import is_output_folder
from study.data.readers.folders import is_hidden, is_image_name
from study.data.records import is_text
from study.errors import DataError, StudyError
from study.serving.classifier import Pixels, TunedClassifier
from study.trial.machine_faults import is_out_of_memory


@dataclass(frozen=True)
class LabelledImage:
    """The most probable classes of an image, or the reason why it could not be read."""

    path: Path
    """The file."""
    classes: tuple[tuple[str, float], ...] = ()
    """The most probable classes with their probabilities, the most probable first; empty if the
    image could not be read."""
    error: str | None = None
    """The reason why the image could not be read, without its path."""


def list_image_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the image files in a folder and its subfolders, and count the other files.

    The suffix decides what is an image. Hidden files and folders are skipped, as in datasets, and
    so are folders of studies and of MLflow. Links to folders are followed, each folder once.

    Returns:
        The paths, each of which begins with ``folder``, sorted by their parts; and the numbers of
        the other files, by suffix.

    Raises:
        DataError: a folder may not be listed.
    """
    images = []
    other_suffixes: Counter[str] = Counter()
    seen = set()
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        if os.path.realpath(place) in seen:  # by another link, or in a circle
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        current = Path(place)
        folders[:] = [name for name in folders if not is_hidden(name)]
        folders[:] = [name for name in sorted(folders) if not is_output_folder(current / name)]
        for name in files:
            if is_image_name(name) and not is_hidden(name):
                images.append(current / name)
            elif not is_hidden(name):
                other_suffixes[Path(name).suffix.lower()] += 1
    return sorted(images), other_suffixes


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: may not be listed ({error.strerror})") from error


def label_image_files(
    classifier: TunedClassifier,
    paths: Iterable[Path],
    *,
    top: int,
    batch_size: int,
) -> Iterator[LabelledImage]:
    """Yield the most probable classes of each image, in the order of the paths.

    One batch is in memory at a time; threads decode it. Probabilities are those of
    `TunedClassifier.probabilities`.

    Args:
        classifier: the classifier.
        paths: the files, whatever their suffixes.
        top: the number of classes to name.
        batch_size: the number of images that are encoded at once.

    Raises:
        DataError: a batch does not fit into memory.
    """
    remaining = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while batch := list(islice(remaining, batch_size)):
            decoded = pool.map(partial(_read_pixels, classifier), batch)
            yield from _label_batch(classifier, list(zip(batch, decoded, strict=True)), top)


def _read_pixels(classifier: TunedClassifier, path: Path) -> Pixels | str:
    """Return the pixels of an image, or the reason why it cannot be read."""
    if not is_text(str(path)):
        return "its path is not UTF-8 text; rename it"
    try:
        return classifier.read_pixels(path)
    except StudyError as error:
        return str(error).removeprefix(f"{str(path)[:LONGEST]}: ")


def _label_batch(
    classifier: TunedClassifier,
    batch: list[tuple[Path, Pixels | str]],
    top: int,
) -> Iterator[LabelledImage]:
    readable = [pixels for _, pixels in batch if not isinstance(pixels, str)]
    try:
        logits = classifier.batch_logits(readable)
    except Exception as error:  # PyTorch has several types for it
        if not is_out_of_memory(error):
            raise
        raise DataError(
            f"{len(readable)} images at once do not fit into the memory of "
            f"{classifier.model.device}; use a smaller --batch-size"
        ) from error
    # Of equal probabilities, the first class comes first, whatever the device.
    probabilities, class_ids = logits.softmax(dim=-1).sort(descending=True, stable=True)
    row = 0
    for path, pixels in batch:
        if isinstance(pixels, str):
            yield LabelledImage(path, error=pixels)
            continue
        names = [classifier.class_names[index] for index in class_ids[row, :top].tolist()]
        values = probabilities[row, :top].tolist()
        yield LabelledImage(path, tuple(zip(names, values, strict=True)))
        row += 1
