"""The image files that paths and folders stand for."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from study.data.images.sources import IMAGE_SUFFIXES
from study.data.output_folders import is_output_folder
from study.data.readers.folders import is_folder, is_image_name, visible
from study.data.records import listed
from study.errors import DataError

logger = logging.getLogger(__name__)


def find_images(words: Iterable[str]) -> list[Path]:
    """Return the images that are named, and those in named folders, in the order of the words.

    A file that is named itself counts as an image whatever its suffix is. A warning counts the
    files of other formats in folders.

    Raises:
        DataError: a path does not exist, or no image is found.
    """
    paths = [Path(word) for word in words]
    missing = [str(path) for path in paths if not os.path.exists(path)]  # noqa: PTH110 -- no error
    if missing:
        raise DataError(
            f"no such image or folder: {listed(missing)}; expected image files or folders"
        )
    images: list[Path] = []
    for path in paths:
        if not path.is_dir():
            images.append(path)
            continue
        in_folder, other_suffixes = list_image_files(path)
        if not in_folder:
            logger.warning("%s: has no images", path)
        if other_suffixes:
            suffixes = [f"{name or 'no suffix'} {n}" for name, n in other_suffixes.most_common(3)]
            logger.warning("%s: skipped files of other formats: %s", path, ", ".join(suffixes))
        images += in_folder
    if not images:
        raise DataError(
            "no images were found; expected image files, and folders that have some "
            f"({' '.join(sorted(IMAGE_SUFFIXES))}) in them or in their folders"
        )
    return images


def list_image_files(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the image files in a folder and its subfolders, and count the other files.

    The suffix decides what is an image. Hidden files and folders are skipped, as in datasets, and
    so are folders of studies and of MLflow. Links to folders are followed, each folder once.

    Returns:
        The paths, each of which begins with ``folder``, sorted by their parts; and the numbers of
        the other files, by suffix.

    Raises:
        DataError: a folder cannot be listed.
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
