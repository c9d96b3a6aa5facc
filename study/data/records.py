"""Records, datasets and the checks every reader shares, whatever the format on disk."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath, PureWindowsPath
from typing import Protocol, runtime_checkable

from PIL import Image

from study.errors import DataError

logger = logging.getLogger(__name__)

SHOWN = 5
LONGEST_LABEL = 18  # digits


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled image.

    Attributes:
        path: relative to the dataset's folder with "/" separators, or a virtual id such as
            "digits/0017" for a packaged set.
        label: index into the dataset's class names.
    """

    path: str
    label: int


class ImageSource(Protocol):
    """Where the pixels of a dataset's records come from."""

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB.

        Raises:
            DataError: naming the path, if it is missing, corrupt or outside the dataset.
        """
        ...


@runtime_checkable
class StampedSource(Protocol):
    """A source that can tell, without opening an image, whether it has changed."""

    def stamp(self, path: str) -> str:
        """Give a text that changes when the image does."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Classes and labelled images of one dataset; the pixels stay where they are.

    Attributes:
        name: as given to `load_dataset`.
        class_names: cleaned names, index = label.
        templates: prompts with one "{}"; the first one is used in training.
        train: pool from which shots are drawn.
        val: validation images of the published split; empty where it has none.
        test: the one test split, whatever the seed.
        source: opens the images.
    """

    name: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    train: tuple[Record, ...]
    val: tuple[Record, ...]
    test: tuple[Record, ...]
    source: ImageSource


def listed(names: Iterable[object]) -> str:
    """Quote the first few names and count the rest."""
    every = [repr(name) if isinstance(name, str) else str(name) for name in names]
    rest = len(every) - SHOWN
    return ", ".join(every[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def keyed_order(paths: Iterable[str], key: str) -> list[str]:
    """Permute paths by the SHA-256 of key and path.

    The order depends on nothing else: not on the order given, the platform, or a library's
    generator, so the same key picks the same images everywhere.
    """

    def rank(path: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{key}\0{path}".encode()).digest(), path

    return sorted(paths, key=rank)


def is_text(name: str) -> bool:
    """Tell a name that can be written down from bytes that are no text, as file systems allow."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_label(text: str) -> int | None:
    """Read a label that is written as text; None for what is none, such as "-1" or "one"."""
    # Python refuses to read numbers of thousands of digits, and no dataset has such labels.
    return int(text) if text.isdecimal() and len(text) <= LONGEST_LABEL else None


def relative_path(text: str, *, where: str) -> str:
    """Check that a listed path stays inside the dataset's folder.

    Args:
        text: the path as some file lists it.
        where: the file that lists it, for the message.

    Returns:
        The path with "/" separators, without "." parts.

    Raises:
        DataError: if it is empty, absolute, no text, or climbs with "..".
    """
    path = PurePosixPath(text.replace("\\", "/"))
    absolute = path.is_absolute() or PureWindowsPath(text).drive
    if not is_text(text):
        raise DataError(f"{where}: path {text!r} is not UTF-8 text; rename the file")
    if absolute or ".." in path.parts or not path.parts or "\0" in text:
        raise DataError(
            f"{where}: path {text!r} is not inside the dataset's folder; "
            "allowed are relative paths without '..'"
        )
    return str(path)


def class_table(pairs: Iterable[tuple[int, str]], *, where: str) -> tuple[str, ...]:
    """Collect class names from (label, name) pairs.

    Raises:
        DataError: if a label has two names, a name two labels, a name is empty, or the labels
            are not 0..n-1.
    """
    names: dict[int, str] = {}
    labels: dict[str, int] = {}
    for label, name in pairs:
        if names.setdefault(label, name) != name:
            raise DataError(
                f"{where}: label {label} has two class names, {names[label]!r} and {name!r}; "
                "allowed is one"
            )
        if not name.strip() or not is_text(name):
            kind = "a class name that is not UTF-8" if name.strip() else "an empty class name"
            raise DataError(f"{where}: label {label} has {kind}")
        # Names that give the same prompt are one class to the text encoder.
        spoken = name.replace("_", " ")
        if labels.setdefault(spoken, label) != label:
            raise DataError(
                f"{where}: class name {name!r} has two labels, {labels[spoken]} and {label}; "
                "allowed is one"
            )
    negative = sorted(label for label in names if label < 0)
    if negative or not names:
        raise DataError(
            f"{where}: labels must be 0..n-1 without gaps; got {listed(negative) or 'none'}"
        )
    # A mistyped label may be astronomic: the gaps are counted, and only the first ones listed.
    gaps = max(names) + 1 - len(names)
    if gaps:
        first = list(islice((n for n in range(max(names)) if n not in names), SHOWN))
        more = f" and {gaps - len(first)} more" if gaps > len(first) else ""
        raise DataError(
            f"{where}: labels must be 0..n-1 without gaps; missing: {listed(first)}{more}"
        )
    return tuple(names[label] for label in range(len(names)))


def check_splits(
    train: Sequence[Record], val: Sequence[Record], test: Sequence[Record], *, where: str
) -> None:
    """Check that no image is listed twice, within a split or in two of them.

    Raises:
        DataError: naming the images and the splits.
    """
    seen: dict[str, str] = {}
    for split, records in (("train", train), ("val", val), ("test", test)):
        counts = Counter(record.path for record in records)
        if len(counts) < len(records):
            twice = sorted(path for path, count in counts.items() if count > 1)
            raise DataError(f"{where}: listed twice in {split}: {listed(twice)}")
        shared = sorted(counts.keys() & seen.keys())
        if shared:
            raise DataError(
                f"{where}: in both {seen[shared[0]]} and {split}: {listed(shared)}; "
                "an image may be in one split only"
            )
        seen.update(dict.fromkeys(counts, split))


def fixed_split(
    records: Iterable[Record], class_names: Sequence[str], *, key: str, val: bool = True
) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
    """Split each class in two or three, always in the same way.

    About half of a class is for training, 3 tenths for test and the rest for validation; without
    validation, one half each. No study seed has a part in it.

    Raises:
        DataError: naming the classes with fewer than two images.
    """
    by_label: dict[int, list[str]] = {label: [] for label in range(len(class_names))}
    for record in records:
        by_label[record.label].append(record.path)
    short = [f"{class_names[label]!r} ({len(p)})" for label, p in by_label.items() if len(p) < 2]
    if short:
        raise DataError(
            f"{key}: a class needs at least 2 images, one to train on and one to test on; "
            f"too small: {', '.join(short[:SHOWN])}"
        )
    parts: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    for label, paths in by_label.items():
        count = len(paths)
        trained = max(1, count // 2)
        tested = max(1, round(0.3 * count)) if val else count - trained
        bounds = (0, trained, count - tested, count)
        ordered = keyed_order(paths, f"split of {key}")
        for part, start, stop in zip(parts, bounds, bounds[1:], strict=False):
            part.extend(Record(path, label) for path in sorted(ordered[start:stop]))
    return tuple(parts[0]), tuple(parts[1]), tuple(parts[2])
