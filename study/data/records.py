"""Records, datasets, and the checks that the readers of all formats share."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from study.errors import DataError
from study.storage.atomic import sha256_of

if TYPE_CHECKING:
    from PIL import Image  # only decoding needs it; a trial reads images that are decoded

SHOWN = 5
SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""The names that each split has in folders, tables and datasets of the hub."""
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
    group: str = field(default="", compare=False)
    """What it shares with other images, such as a patient; empty if the dataset has no groups."""


Records = tuple[Record, ...]


class Splits(NamedTuple):
    """The images of each split, in the order of `SPLITS`; those that are absent are empty."""

    train: Records = ()
    val: Records = ()
    test: Records = ()


ClassNames = tuple[str, ...]
"""The class names of a dataset, indexed by label."""
Templates = tuple[str, ...]
"""Prompt templates, each with one "{}"; the first one is used in training."""
ImagePaths = Sequence[str]
"""The paths of images, see `Record.path`."""


class ImageSource(Protocol):
    """The source of the pixels of a dataset's records."""

    def open_image(self, path: str) -> Image.Image:
        """Open one image as RGB.

        Raises:
            DataError: if the image is missing, corrupt or outside the dataset; the message names
                its path.
        """

    def stamp(self, path: str) -> str:
        """Return a text that changes when the image changes, without opening it."""


@dataclass(frozen=True)
class Dataset:
    """The classes and labelled images of one dataset, without the pixels."""

    name: str
    """The name that `load_dataset` was called with."""
    class_names: ClassNames
    """The cleaned class names, indexed by label."""
    templates: Templates
    """The prompt templates."""
    train: Records
    """The pool of images from which the shots are drawn."""
    val: Records
    """The validation images of the published split; empty if it has none."""
    test: Records
    """The test images, the same for every seed."""
    source: ImageSource
    """The source that opens the images."""

    @property
    def records(self) -> Records:
        """The images of all splits, those of the test split first."""
        return self.test + self.train + self.val


class DataFaults(DataError):
    """Several faults of one dataset; `faults` has a sentence with its place for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


Contents = tuple[ClassNames, Splits, ImageSource]
"""The result of a reader: the class names, the images of each split, and their source."""


def listed(names: Iterable[object]) -> str:
    """Return the first few names, quoted, and the number of the others, for a message."""
    return listed_texts([repr(name) if isinstance(name, str) else str(name) for name in names])


def listed_texts(texts: Sequence[str]) -> str:
    """Return the first few texts as they are, and the number of the others; see `listed`."""
    text = ", ".join(texts[:SHOWN])
    if len(texts) > SHOWN:
        text += f" and {len(texts) - SHOWN} more"
    return text


def match_names(
    kind: str,
    present: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
    requested: Mapping[str, str],
    *,
    where: str,
) -> dict[str, str]:
    """Return the name that each part of a dataset goes by, for the parts that it has.

    Args:
        kind: what the names are, such as "columns", for the message.
        present: the names that the dataset has.
        aliases: part → names that are recognized, in any case; the first ones are preferred.
        requested: part → name that the user requests for it.
        where: the dataset, for the message.

    Raises:
        DataError: if a part or a name that the user requests does not exist.
    """
    unknown = [part for part in requested if part not in aliases]
    unknown += [name for name in requested.values() if name not in present]
    if unknown:
        raise DataError(
            f"{where}: {kind} {listed(unknown)} don't exist; {kind} are {', '.join(aliases)}, "
            f"and the dataset has {listed(present) or 'none'}"
        )
    name_of = {name.lower(): name for name in reversed(present)}
    name_of |= {name: name for name in present}
    parts = {}
    for part, names in aliases.items():
        for alias in names:
            if alias in name_of:
                parts[part] = name_of[alias]
                break
    parts.update(requested)
    return parts


def keyed_order(paths: Iterable[str], key: str) -> list[str]:
    """Return the paths ordered by the SHA-256 of key and path.

    The order depends on nothing else: not on the input order, the platform or the random generator
    of a library. The same key therefore picks the same images everywhere.
    """
    return sorted(paths, key=lambda path: sha256_of(f"{key}\0{path}".encode()))


def in_order(records: Iterable[Record]) -> Records:
    """Return the images sorted by label and path."""
    return tuple(sorted(records, key=attrgetter("label", "path")))


def in_chunks(paths: ImagePaths, size: int) -> Iterator[ImagePaths]:
    """Yield the paths in chunks of one size; the last one may be smaller."""
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def ordered_records(records: Iterable[Record], key: str) -> dict[int, list[Record]]:
    """Return the images of each class, by label, in the order in which they are drawn."""
    records_of: dict[int, dict[str, Record]] = defaultdict(dict)
    for record in sorted(records, key=attrgetter("label")):
        records_of[record.label][record.path] = record
    ordered = {}
    for label, of_path in records_of.items():
        ordered[label] = [of_path[path] for path in keyed_order(of_path, key)]
    return ordered


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8; file systems also allow names that cannot."""
    return not re.search("[\ud800-\udfff]", name)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        DataError: if the file is missing or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing; looked in {path.parent}") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path}: cannot be read (not UTF-8 text: it has the byte {byte:#04x})"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_json(path: Path) -> Any:
    """Read the JSON value of a file.

    Raises:
        DataError: if the file is missing, or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    # Numbers of thousands of digits raise ValueError, deep nesting RecursionError.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not complete JSON ({error})") from error


def read_label(value: object) -> int | None:
    """Read a label from a number or text; return None if it is not a whole number, such as "-1"."""
    # Python raises ValueError on thousands of digits; no dataset has such labels.
    if isinstance(value, str):
        if value.isdecimal() and len(value) <= 18:
            return int(value)
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return None


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
    if not is_text(text):
        raise DataError(f"{where}: path {text!r} is not UTF-8 text; rename the file")
    # Without pathlib, which takes a minute for a million paths.
    path = text.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    is_absolute = path.startswith("/") or re.match("[A-Za-z]:", path)  # as on Windows
    if is_absolute or ".." in parts or not parts or "\0" in text:
        raise DataError(
            f"{where}: path {text!r} is not inside the dataset's folder; "
            "expected relative paths without '..'"
        )
    return "/".join(parts)


def result_names(class_names: Sequence[str]) -> ClassNames:
    """Return the names that classes have in results, indexed by label, no two of them equal.

    Published lists repeat a few names, such as ImageNet's of sunglasses. Prompts have them as they
    are; in results, each further class of a name gets a number.
    """
    names: dict[str, None] = {}
    for name in class_names:
        unique, number = name, 1
        while unique in names or (number > 1 and unique in class_names):
            number += 1
            unique = f"{name} ({number})"
        names[unique] = None
    return tuple(names)


def class_table(pairs: Iterable[tuple[int, str]], *, where: str) -> ClassNames:
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
                "expected one"
            )
        if not name.strip():
            raise DataError(f"{where}: label {label} has an empty class name")
        if not is_text(name):
            raise DataError(f"{where}: label {label} has a class name that is not UTF-8")
        # The text encoder cannot separate names that give the same prompt.
        in_prompt = name.replace("_", " ")
        first = labels.setdefault(in_prompt, label)
        if first != label:
            raise DataError(
                f"{where}: the class names {names[first]!r} and {name!r} of labels {first} and "
                f"{label} are the same text in a prompt, where '_' is a space; expected one label"
            )
    missing = next((label for label in range(len(names)) if label not in names), None)
    if not names or missing is not None:
        raise DataError(
            f"{where}: labels must be 0..n-1 without gaps; got {listed(sorted(names)) or 'none'}, "
            f"without {missing}"
        )
    return tuple(names[label] for label in range(len(names)))
