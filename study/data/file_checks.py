"""Find missing, unread and duplicate images of a dataset without decoding any.

Public benchmarks have such images, so most findings are only warnings.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from study.data.images.sources import FolderSource, HubSource
from study.data.output_folders import is_output_folder
from study.data.readers.folders import is_hidden, is_image_name
from study.data.records import Dataset, OnCorrupt, Record, listed
from study.errors import DataError

Paths = tuple[str, ...]
"""Paths relative to the folder of a dataset."""


@dataclass(frozen=True)
class FileFaults:
    """The faults that a survey of a dataset's files found."""

    absent: Paths = ()
    """The paths that lead to no file in the dataset's folder."""
    in_two_classes: tuple[Paths, ...] = ()
    """The paths of each image that is in several classes."""
    in_two_splits: tuple[Paths, ...] = ()
    """The paths of each image that is among the test images and among others."""
    unread: Paths = ()
    """The files below a folder of class folders that are not read, see `find_unread`."""


def check_files(dataset: Dataset) -> FileFaults:
    """Find faults of a dataset's image files; images are the same if their encoded files are.

    Images in memory are skipped.
    """
    source = dataset.source
    if not isinstance(source, FolderSource | HubSource):
        return FileFaults()
    absent = []
    of_size: dict[int, list[Record]] = defaultdict(list)
    for record in dataset.records:
        try:
            of_size[_size(source.encoded(record.path))].append(record)
        except (DataError, OSError, ValueError):
            absent.append(record.path)
    of_size.pop(0, None)  # empty files are no images, and reported as such when they are decoded
    alike: dict[bytes, list[Record]] = defaultdict(list)
    for records in of_size.values():
        for record in records if len(records) > 1 else ():  # no others are read
            with suppress(OSError):  # reported when the image is read
                alike[_digest(source.encoded(record.path))].append(record)
    paths_and_labels = [
        (tuple(record.path for record in group), {record.label for record in group})
        for group in alike.values()
    ]
    tested = {record.path for record in dataset.test}
    return FileFaults(
        tuple(absent),
        tuple(paths for paths, labels in paths_and_labels if len(labels) > 1),
        tuple(paths for paths, _ in paths_and_labels if len({p in tested for p in paths}) > 1),
        find_unread(dataset, source) if isinstance(source, FolderSource) else (),
    )


def find_unread(dataset: Dataset, source: FolderSource) -> Paths:
    """Return the files below a folder of class folders that are no images of the dataset.

    Hidden files and folders, what studies wrote, and files beside all class folders that are no
    images, such as a licence, are passed over.
    """
    if not source.by_class:
        return ()
    root = str(source.root)
    read = {f"{root}/{record.path}" for record in dataset.records}
    unread = []
    for place, folders, files in os.walk(root):
        visible = [name for name in folders if not is_hidden(name)]
        folders[:] = [name for name in visible if not is_output_folder(Path(place, name))]
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
                    f"{owner} and {dataset.name} have images in common, such as {place}; expected "
                    "datasets without common images; your own target is read from the folder or "
                    "table with its name in data.targets_root, or else in data.root"
                )


def _places(dataset: Dataset, records: Iterable[Record]) -> Iterator[str]:
    """Yield the file of each image, or the row of its table."""
    source = dataset.source
    place = dataset.name
    if isinstance(source, FolderSource):
        place = str(source.root.resolve())
    for record in records:
        if isinstance(source, HubSource):
            place = source.stamp(record.path)
        yield f"{place}/{record.path}"


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
                f"{listed(absent)}; expected paths of images in that folder and, if others can "
                "be read, data.on_corrupt=skip, which leaves the absent ones out"
            )


def _size(encoded: Path | BytesIO) -> int:
    """Return the bytes of an encoded image, of whose file only the size is read."""
    return encoded.stat().st_size if isinstance(encoded, Path) else len(encoded.getbuffer())


def _digest(encoded: Path | BytesIO) -> bytes:
    """Return a hash of an encoded image."""
    with encoded.open("rb") if isinstance(encoded, Path) else encoded as file:
        return hashlib.file_digest(file, "sha256").digest()
