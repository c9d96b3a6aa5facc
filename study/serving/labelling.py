"""Find the image files in folders, and label them with a tuned classifier."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from study.data.images.sources import LONGEST
from study.data.output_folders import is_output_folder
from study.data.readers.folders import is_folder, is_image_name, visible
from study.errors import StudyError
from study.serving.classifier import TunedClassifier


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
    images: list[Path] = []
    other_suffixes: Counter[str] = Counter()
    folders, seen = [folder], set()
    for place in folders:  # which grows
        if os.path.realpath(place) in seen:  # by another link, or in a circle
            continue
        seen.add(os.path.realpath(place))
        for entry in sorted(visible(place), key=lambda entry: entry.name):
            path = place / entry.name
            if not is_folder(entry):
                if is_image_name(entry.name):
                    images.append(path)
                else:
                    other_suffixes[path.suffix.lower()] += 1
            elif not is_output_folder(path):
                folders.append(path)
    return sorted(images), other_suffixes


def label_image_files(
    classifier: TunedClassifier, paths: Sequence[Path], *, top: int, batch_size: int
) -> Iterator[list[object]]:
    """Yield the cells of each image, in the order of the paths.

    These are its path; the name and the probability of each of the `top` most probable classes, the
    most probable first; and why it could not be read, without the path. What does not exist is
    None.

    Args:
        classifier: the classifier.
        paths: the files, whatever their suffixes.
        top: the number of classes to name, at most all.
        batch_size: the number of images that are encoded at once.

    Raises:
        DataError: a batch does not fit into memory.
    """
    rows = classifier.classify(paths, batch_size=batch_size)
    for path, row in zip(paths, rows, strict=True):
        cells: list[object] = [path]
        if isinstance(row, StudyError):
            reason = str(row).removeprefix(f"{str(path)[:LONGEST]}: ")
            yield [*cells, *[None] * (2 * top), reason]
            continue
        # Of equal probabilities, the first class comes first, whatever the device.
        for class_id in row.argsort(descending=True, stable=True)[:top].tolist():
            cells += [classifier.class_names[class_id], row[class_id].item()]
        yield [*cells, None]
