"""A look at the images of a dataset, without decoding any: absent, or the same twice.

Public benchmarks have such images, so that most of it is a matter for a warning.
"""

import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from study.data.ignored_files import Unread, find_unread
from study.data.images.sources import FolderSource
from study.data.readers.huggingface import HubSource
from study.data.records import Dataset, OnCorrupt, listed
from study.errors import DataError

WITHIN = 20.0
"""How many seconds a look takes at most, whatever the size of the dataset."""


class _Found(NamedTuple):
    """An image whose file is there."""

    is_test: bool
    label: int
    path: str


@dataclass(frozen=True)
class Survey:
    """What a look at a dataset's files found."""

    looked: int
    """The number of images that were looked at in time."""
    compared: bool
    """Whether there was time to compare all those that may be the same."""
    absent: tuple[str, ...] = ()
    """The paths that lead to no file in the dataset's folder."""
    in_two_classes: tuple[tuple[str, ...], ...] = ()
    """The paths of each image that is in several classes."""
    in_two_splits: tuple[tuple[str, ...], ...] = ()
    """The paths of each image that is among the test images and among others."""
    unread: Unread = field(default_factory=Unread)
    """What is in the dataset's folder and is not read."""


def survey(
    dataset: Dataset, seconds: float = WITHIN, pixels: Mapping[str, bytes] | None = None
) -> Survey:
    """Look at the images of a dataset; those that are in memory are passed over.

    Two images are the same if their encoded files are, or their pixels where these are known.

    Args:
        dataset: the dataset.
        seconds: how long it may take.
        pixels: a hash of the pixels of each image that can be decoded, by path; None means that not
            all were decoded.
    """
    source = dataset.source
    if not isinstance(source, FolderSource | HubSource):
        return Survey(len(dataset.train) + len(dataset.val) + len(dataset.test), compared=True)
    ends = time.monotonic() + seconds
    # First, since images may take all of the time; if this does, no image counts as looked at.
    unread = find_unread(source, ends) if isinstance(source, FolderSource) else Unread()
    absent: list[str] = []
    alike: defaultdict[Hashable, list[_Found]] = defaultdict(list)
    key_of = _sizes(source) if isinstance(source, FolderSource) else partial(_digest, source)
    looked = 0
    for found in _test_first(dataset):
        if time.monotonic() > ends:
            break
        looked += 1
        try:
            key = key_of(found.path)
        except (DataError, OSError, ValueError):
            absent.append(found.path)
        else:
            if key == 0:  # empty files are no images, and told as such when they are decoded
                continue
            alike[key if pixels is None else pixels.get(found.path, found.path)].append(found)
    groups, compared = [group for group in alike.values() if _is_amiss(group)], True
    if pixels is None and isinstance(source, FolderSource):  # so far their sizes alone
        groups, compared = _same_files(groups, source.root, ends)
    return Survey(
        looked,
        compared,
        tuple(absent),
        _paths(group for group in groups if len({found.label for found in group}) > 1),
        _paths(group for group in groups if len({found.is_test for found in group}) > 1),
        unread,
    )


def refuse_absent(dataset: Dataset, on_corrupt: OnCorrupt) -> None:
    """Raise if a study will fail since listed images are not there.

    All test images are read, and of the training images some. A training image that is not there
    is a matter for a warning, unless no other is.

    Args:
        dataset: the dataset.
        on_corrupt: what the study does about images that it cannot read.

    Raises:
        DataError: a test image is not in the dataset's folder, and the study would fail; or not one
            image is there, of those to train on or of those to test on.
    """
    if not isinstance(source := dataset.source, FolderSource):
        return
    for split, records in (("training", dataset.train), ("test", dataset.test)):
        if records and not any((source.root / record.path).exists() for record in records):
            raise DataError(
                f"{dataset.name}: none of the {len(records)} {split} images that are listed is in "
                f"{source.root}: {listed([record.path for record in records])}; allowed are paths "
                "relative to that folder"
            )
    if on_corrupt == "skip":
        return
    absent: list[str] = []
    size_of, ends = _sizes(source), time.monotonic() + WITHIN
    for record in dataset.test:
        if time.monotonic() > ends:
            break
        try:
            size_of(record.path)
        except (DataError, OSError, ValueError):
            absent.append(record.path)
    if absent:
        raise DataError(
            f"{dataset.name}: not in {source.root}, or led out of it by symbolic links: "
            f"{len(absent)} of {len(dataset.test)} test images, {listed(absent)}; allowed are "
            "images in that folder, a list without them, or data.on_corrupt=skip, which leaves "
            "them out, as the test reads all of them"
        )


def _test_first(dataset: Dataset) -> Iterator[_Found]:
    """Yield the test images, then the others."""
    for records in (dataset.test, dataset.train, dataset.val):
        is_test = records is dataset.test
        for record in records:
            yield _Found(is_test, record.label, record.path)


def empty_files(dataset: Dataset, seconds: float) -> list[str]:
    """Return the paths of the images whose files are empty, as far as they are seen in time."""
    if not isinstance(source := dataset.source, FolderSource):
        return []
    empty: list[str] = []
    size_of, ends = _sizes(source), time.monotonic() + seconds
    for found in _test_first(dataset):
        if time.monotonic() > ends:
            break
        with suppress(DataError, OSError, ValueError):  # it is absent or outside
            if size_of(found.path) == 0:
                empty.append(found.path)
    return empty


def _sizes(source: FolderSource) -> Callable[[str], int]:
    """Return a function from a path to its file's size in bytes.

    It raises what `FolderSource.locate` does, or OSError where there is no file. Folders are
    resolved once, so that an image costs one question to the file system.
    """

    @cache
    def folder_of(place: str) -> Path:
        return source.locate(place) if place else source.root

    def size_of(path: str) -> int:
        place, _, name = path.rpartition("/")
        file = folder_of(place) / name
        status = file.lstat()
        if stat.S_ISLNK(status.st_mode):
            if not os.path.exists(file):  # noqa: PTH110  -- also where links form a circle
                raise FileNotFoundError(path)
            status = source.locate(path).stat()
        return status.st_size

    return size_of


def _digest(source: HubSource, path: str) -> bytes:
    """Return a hash of an encoded image.

    Raises:
        OSError: there is no such image.
    """
    try:
        encoded = source.encoded(path)
    except DataError as error:  # it is empty
        raise FileNotFoundError(path) from error
    if isinstance(encoded, Path):
        with encoded.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(encoded.getbuffer()).digest()


def _same_files(
    groups: Iterable[Sequence[_Found]], root: Path, ends: float
) -> tuple[list[list[_Found]], bool]:
    """Return the images whose files have equal contents, and whether there was time for all.

    Args:
        groups: images whose files have one size.
        root: the dataset's folder.
        ends: when to stop, by the monotonic clock.
    """
    same: list[list[_Found]] = []
    for group in groups:
        of_digest: defaultdict[bytes, list[_Found]] = defaultdict(list)
        for found in group:
            if time.monotonic() > ends:
                return same, False
            try:
                with (root / found.path).open("rb") as file:
                    of_digest[hashlib.file_digest(file, "sha256").digest()].append(found)
            except OSError:  # which is told when the image is read
                continue
        same += filter(_is_amiss, of_digest.values())
    return same, True


def _is_amiss(group: Sequence[_Found]) -> bool:
    """Return whether images that may be the same are of several classes or splits."""
    return len({found.label for found in group}) + len({found.is_test for found in group}) > 2


def _paths(groups: Iterable[Sequence[_Found]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(found.path for found in group) for group in groups)
