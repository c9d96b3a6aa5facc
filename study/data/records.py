"""Records, datasets, and the checks that the readers of all formats share."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, Protocol, runtime_checkable

from PIL import Image

from study.errors import DataError

SHOWN = 5
OnCorrupt = Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled image."""

    path: str
    """The path relative to the dataset's folder, with "/" separators.

    For images that are not files of their own it is a virtual id, such as "digits/0017".
    """
    label: int
    """The index of the class in the dataset's class names."""


class ImageSource(Protocol):
    """The source of the pixels of a dataset's records."""

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB.

        Raises:
            DataError: if the image is missing, corrupt or outside the dataset; the message names
                its path.
        """


@runtime_checkable
class StampedSource(Protocol):
    """A source that can detect a changed image without opening it."""

    def stamp(self, path: str) -> str:
        """Return a text that changes when the image changes."""


@dataclass(frozen=True)
class Dataset:
    """The classes and labelled images of one dataset, without the pixels."""

    name: str
    """The name that `load_dataset` was called with."""
    class_names: tuple[str, ...]
    """The cleaned class names, indexed by label."""
    templates: tuple[str, ...]
    """The prompt templates, each with one "{}"; the first one is used in training."""
    train: tuple[Record, ...]
    """The pool of images from which the shots are drawn."""
    val: tuple[Record, ...]
    """The validation images of the published split; empty if it has none."""
    test: tuple[Record, ...]
    """The test images, the same for every seed."""
    source: ImageSource
    """The source that opens the images."""


def listed(names: Iterable[object]) -> str:
    """Return the first few names, quoted, and the number of the others, for a message."""
    every = [repr(name) if isinstance(name, str) else str(name) for name in names]
    rest = len(every) - SHOWN
    return ", ".join(every[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def keyed_order(paths: Iterable[str], key: str) -> list[str]:
    """Return the paths ordered by the SHA-256 of key and path.

    The order depends on nothing else: not on the input order, the platform or the random generator
    of a library. The same key therefore picks the same images everywhere.
    """
    return sorted(paths, key=lambda p: (hashlib.sha256(f"{key}\0{p}".encode()).digest(), p))


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8; file systems also allow names that cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def read_text(path: Path, *, hint: str = "") -> str:
    """Read a text file in UTF-8.

    Args:
        path: the file.
        hint: how to get the file, for messages.

    Raises:
        DataError: if the file is missing or cannot be read.
    """
    ending = f". {hint}" if hint else ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing; looked in {path.parent}{ending}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}){ending}") from error


def read_label(text: str) -> int | None:
    """Read a label from text; return None if it is not a whole number from 0, such as "-1"."""
    # Python raises ValueError on thousands of digits; no dataset has such labels.
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def relative_path(text: str, *, where: str) -> str:
    """Check that a listed path stays inside the dataset's folder.

    Args:
        text: the path as a file lists it.
        where: the file that lists the path, for the message.

    Returns:
        The path with "/" separators, without "." parts.

    Raises:
        DataError: if the path is empty, absolute, not UTF-8, or has a part "..".
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if not is_text(text):
        raise DataError(f"{where}: path {text!r} is not UTF-8 text; rename the file")
    absolute = path.is_absolute() or PureWindowsPath(text).drive
    if absolute or ".." in path.parts or not path.parts or "\0" in text:
        raise DataError(
            f"{where}: path {text!r} is not inside the dataset's folder; "
            "allowed are relative paths without '..'"
        )
    return str(path)


def class_table(pairs: Iterable[tuple[int, str]], *, where: str) -> tuple[str, ...]:
    """Return the class names, indexed by label, from (label, name) pairs.

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
        # The text encoder cannot separate names that give the same prompt.
        in_prompt = name.replace("_", " ")
        if labels.setdefault(in_prompt, label) != label:
            raise DataError(
                f"{where}: class name {name!r} has two labels, {labels[in_prompt]} and {label}; "
                "allowed is one"
            )
    negative = sorted(label for label in names if label < 0)
    if negative or not names:
        raise DataError(
            f"{where}: labels must be 0..n-1 without gaps; got {listed(negative) or 'none'}"
        )
    # A mistyped label may be huge: count the gaps, and list only the first ones.
    if gaps := max(names) + 1 - len(names):
        first = list(islice((n for n in range(max(names)) if n not in names), SHOWN))
        more = f" and {gaps - len(first)} more" if gaps > len(first) else ""
        raise DataError(
            f"{where}: labels must be 0..n-1 without gaps; missing: {listed(first)}{more}"
        )
    return tuple(names[label] for label in range(len(names)))


def check_splits(
    train: Sequence[Record], val: Sequence[Record], test: Sequence[Record], *, where: str
) -> None:
    """Check that no image is listed twice, in one split or in two.

    Raises:
        DataError: if one is; the message names the images and the splits.
    """
    seen: dict[str, str] = {}
    for split, records in (("train", train), ("val", val), ("test", test)):
        counts = Counter(record.path for record in records)
        if len(counts) < len(records):
            twice = sorted(path for path, count in counts.items() if count > 1)
            raise DataError(f"{where}: listed twice in {split}: {listed(twice)}")
        if shared := sorted(counts.keys() & seen.keys()):
            raise DataError(
                f"{where}: in both {seen[shared[0]]} and {split}: {listed(shared)}; "
                "an image may be in one split only"
            )
        seen.update(dict.fromkeys(counts, split))


def fixed_split(
    records: Iterable[Record], class_names: Sequence[str], *, key: str, val: bool = True
) -> tuple[tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
    """Split the images of each class into train, val and test, always in the same way.

    About half of a class goes to train, three tenths to test and the rest to val. The split depends
    on the records and the key alone, not on the seed of a study.

    Args:
        records: the images to split.
        class_names: the class names, indexed by label.
        key: a text that fixes the split, usually the dataset's name.
        val: whether to make a validation split; without one, train and test get half of a class
            each.

    Returns:
        The images of train, val and test.

    Raises:
        DataError: if a class has fewer than two images; the message names these classes.
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
        train_count = max(1, count // 2)
        test_count = max(1, round(0.3 * count)) if val else count - train_count
        bounds = (0, train_count, count - test_count, count)
        ordered = keyed_order(paths, f"split of {key}")
        for part, (start, stop) in zip(parts, pairwise(bounds), strict=True):
            part.extend(Record(path, label) for path in sorted(ordered[start:stop]))
    return tuple(parts[0]), tuple(parts[1]), tuple(parts[2])
