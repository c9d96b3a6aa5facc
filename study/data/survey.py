"""Find missing, unread and duplicate images of a dataset without decoding any.

Public benchmarks have such images, so most findings are only warnings.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from study.data.images.sources import FolderSource
from study.data.outputs import is_output
from study.data.readers.huggingface import HubSource
from study.data.readers.own import is_hidden, is_image_name
from study.data.records import Dataset, OnCorrupt, Record, listed
from study.errors import DataError

Paths = tuple[str, ...]
"""Paths relative to the folder of a dataset."""


class _Image(NamedTuple):
    """An image whose file exists."""

    is_test: bool
    label: int
    path: str


@dataclass(frozen=True)
class Survey:
    """The faults that a survey of a dataset's files found."""

    absent: Paths = ()
    """The paths that lead to no file in the dataset's folder."""
    in_two_classes: tuple[Paths, ...] = ()
    """The paths of each image that is in several classes."""
    in_two_splits: tuple[Paths, ...] = ()
    """The paths of each image that is among the test images and among others."""
    unread: Paths = ()
    """The files below a folder of class folders that are not read, see `find_unread`."""


def survey(dataset: Dataset) -> Survey:
    """Survey the image files of a dataset; two images are the same if their encoded files are.

    Images in memory are skipped.
    """
    source = dataset.source
    if not isinstance(source, FolderSource | HubSource):
        return Survey()
    absent = []
    images_of_key = defaultdict(list)
    for number, record in enumerate(dataset.records):
        image = _Image(number < len(dataset.test), record.label, record.path)
        try:
            # Of files, the size costs least, and only those of equal sizes are read.
            if isinstance(source, FolderSource):
                key: Hashable = (source.root / image.path).stat().st_size
            else:
                key = _digest(source, image.path)
        except (DataError, OSError, ValueError):
            absent.append(image.path)
            continue
        if key != 0:  # empty files are no images, and reported as such when they are decoded
            images_of_key[key].append(image)
    groups = list(filter(_is_conflict, images_of_key.values()))
    unread: Paths = ()
    if isinstance(source, FolderSource):
        unread = find_unread(dataset, source)
        groups = [same for group in groups for same in _same_files(group, source)]
    in_two_classes = _paths_that_differ(groups, "label")
    in_two_splits = _paths_that_differ(groups, "is_test")
    return Survey(tuple(absent), in_two_classes, in_two_splits, unread)


def find_unread(dataset: Dataset, source: FolderSource) -> Paths:
    """Return the files below a folder of class folders that are no images of the dataset.

    Hidden files and folders, what studies wrote, and files beside all class folders that are no
    images, such as a licence, are passed over.
    """
    if not source.class_folders:
        return ()
    root = str(source.root)
    read = {f"{root}/{record.path}" for record in dataset.records}
    unread = []
    for place, folders, files in os.walk(root):
        visible = [name for name in folders if not is_hidden(name)]
        folders[:] = [name for name in visible if not is_output(Path(place, name))]
        for name in files:
            path = f"{place}/{name}"
            is_meant = place != root or is_image_name(name)
            if is_meant and path not in read and not is_hidden(name):
                unread.append(path.removeprefix(f"{root}/"))
    return tuple(sorted(unread))


def refuse_shared_images(source: Dataset, targets: Iterable[Dataset]) -> None:
    """Refuse targets with test images that the source or another target has, too.

    Args:
        source: the dataset to train on.
        targets: the further datasets to test on.

    Raises:
        DataError: there are such images; the message names the datasets and an image.
    """
    owners: dict[str, str] = {}
    tested = [(target, target.test) for target in targets]
    for dataset, records in (*tested, (source, source.records)):
        for place in _places(dataset, records):
            owner = owners.setdefault(place, dataset.name)
            if owner != dataset.name:
                raise DataError(
                    f"{owner} and {dataset.name} have images in common, such as {place}; allowed "
                    "are datasets with images of their own: a target of your own is read from the "
                    "folder or table of its name in data.targets_root, or else in data.root"
                )


def _places(dataset: Dataset, records: Iterable[Record]) -> Iterator[str]:
    """Yield the file of each image, or the row of its table."""
    source = dataset.source
    real = cache(os.path.realpath)  # folders may be links; a million files take a while
    for record in records:
        folder, _, name = record.path.rpartition("/")
        if isinstance(source, FolderSource):
            yield f"{real(source.root / folder)}/{name}"
        else:
            table = source.stamp(record.path) if isinstance(source, HubSource) else dataset.name
            yield f"{record.path} ({table})"


def refuse_absent(dataset: Dataset, on_corrupt: OnCorrupt) -> None:
    """Raise DataError if a study would fail because listed images are missing.

    A study reads all test images, but only some training images. A training image that is absent
    is therefore only warned about, unless all are.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.

    Raises:
        DataError: a test image is absent, and the study would fail; or all training images are, or
            all test images.
    """
    root = getattr(dataset.source, "root", None)
    if root is None:  # its images are no files
        return
    for split, records in (("training", dataset.train), ("test", dataset.test)):
        absent = [record.path for record in records if not (root / record.path).exists()]
        is_fatal = split == "test" and on_corrupt == "fail"
        if absent and (is_fatal or len(absent) == len(records)):
            raise DataError(
                f"{dataset.name}: not in {root}: {len(absent)} of {len(records)} {split} images, "
                f"{listed(absent)}; allowed are paths of images in that folder and, if others can "
                "be read, data.on_corrupt=skip, which leaves the absent ones out"
            )


def _digest(source: FolderSource | HubSource, path: str) -> bytes:
    """Return a hash of an encoded image.

    Raises:
        DataError: see `HubSource.encoded`.
        OSError: its file cannot be read.
    """
    encoded = source.root / path if isinstance(source, FolderSource) else source.encoded(path)
    if isinstance(encoded, Path):
        with encoded.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(encoded.getbuffer()).digest()


def _same_files(images: Iterable[_Image], source: FolderSource) -> Iterator[list[_Image]]:
    """Yield the images that are of several classes or splits and whose files have one content."""
    images_of_digest = defaultdict(list)
    for image in images:
        with suppress(OSError):  # reported when the image is read
            images_of_digest[_digest(source, image.path)].append(image)
    yield from filter(_is_conflict, images_of_digest.values())


def _is_conflict(group: Sequence[_Image]) -> bool:
    """Return whether images that may be the same are of several classes or splits."""
    return _differ(group, "label") or _differ(group, "is_test")


def _differ(group: Iterable[_Image], name: str) -> bool:
    return len({getattr(image, name) for image in group}) > 1


def _paths_that_differ(groups: Iterable[Sequence[_Image]], name: str) -> tuple[Paths, ...]:
    """Return the paths of each group of images that differ in a field."""
    return tuple(tuple(image.path for image in group) for group in groups if _differ(group, name))
