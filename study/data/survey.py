"""A look at the files of a dataset, without decoding any: absent, outside, or the same twice.

Public benchmarks have such images, so that most of it is a matter for a warning.
"""

import hashlib
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

from study.data.images.sources import FolderSource
from study.data.records import Dataset, Record, listed
from study.errors import DataError

WITHIN = 20.0
"""How many seconds a look takes at most, whatever the size of the dataset."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The beginning of an address of the web, of which a reader has joined the slashes."""


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
    """Whether there was time to compare all those of equal size."""
    absent: tuple[str, ...] = ()
    """The paths that lead to no file."""
    outside: tuple[str, ...] = ()
    """The paths that lead out of the dataset's folder by a symbolic link."""
    in_two_classes: tuple[tuple[str, ...], ...] = ()
    """The paths of each file that is in several classes."""
    in_two_splits: tuple[tuple[str, ...], ...] = ()
    """The paths of each file that is among the test images and among others."""


def survey(dataset: Dataset, seconds: float = WITHIN) -> Survey:
    """Look at the files of a dataset; those that are in memory or on the hub are passed over.

    Files are compared only if they have the same size.

    Args:
        dataset: the dataset.
        seconds: how long it may take.
    """
    if not isinstance(source := dataset.source, FolderSource):
        return Survey(0, compared=True)
    ends = time.monotonic() + seconds
    absent: list[str] = []
    outside: list[str] = []
    of_size: defaultdict[int, list[_Found]] = defaultdict(list)
    size_of = _sizes(source)
    looked = 0
    for found in _in_turn(dataset):
        if time.monotonic() > ends:
            break
        looked += 1
        try:
            of_size[size_of(found.path)].append(found)
        except DataError:
            outside.append(found.path)
        except (OSError, ValueError):
            absent.append(found.path)
    same, compared = _same_files(of_size.values(), source.root, ends)
    return Survey(
        looked,
        compared,
        tuple(absent),
        tuple(outside),
        _paths(group for group in same if len({found.label for found in group}) > 1),
        _paths(group for group in same if len({found.is_test for found in group}) > 1),
    )


def refuse_absent(dataset: Dataset) -> None:
    """Raise if not one of the listed images is there.

    Raises:
        DataError: none is, of those to train on or of those to test on.
    """
    if not isinstance(source := dataset.source, FolderSource):
        return
    for split, records in (("training", dataset.train), ("test", dataset.test)):
        if records and not any((source.root / record.path).exists() for record in records):
            paths = [record.path for record in records]
            web = " (addresses of the web are never fetched: download the images)"
            raise DataError(
                f"{dataset.name}: none of the {len(paths)} {split} images that are listed is in "
                f"{source.root}: {listed(paths)}{web if ADDRESS.match(paths[0]) else ''}; allowed "
                "are paths relative to that folder"
            )


def _in_turn(dataset: Dataset) -> Iterator[_Found]:
    """Yield test images and others in turn, so that a look that is cut short has seen both."""

    def found(records: Sequence[Record], is_test: bool) -> Iterator[_Found]:
        return (_Found(is_test, record.label, record.path) for record in records)

    others = chain(found(dataset.train, False), found(dataset.val, False))
    pairs = zip_longest(found(dataset.test, True), others)
    return (one for pair in pairs for one in pair if one is not None)


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
        if len({found.label for found in group}) + len({found.is_test for found in group}) == 2:
            continue  # one image, or several of one class and one split
        of_digest: defaultdict[bytes, list[_Found]] = defaultdict(list)
        for found in group:
            if time.monotonic() > ends:
                return same, False
            try:
                with (root / found.path).open("rb") as file:
                    of_digest[hashlib.file_digest(file, "sha256").digest()].append(found)
            except OSError:  # which is told when the image is read
                continue
        same += (alike for alike in of_digest.values() if len(alike) > 1)
    return same, True


def _paths(groups: Iterable[Sequence[_Found]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(found.path for found in group) for group in groups)
