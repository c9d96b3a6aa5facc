"""Image folders with one folder per class, with or without folders for the splits."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePath

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.records import (
    SPLITS,
    Contents,
    Record,
    Records,
    class_table,
    find_parts,
    fixed_split,
    is_text,
    listed,
)
from study.errors import DataError


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a folder or a link to one.

    Raises:
        DataError: the entry cannot be accessed, such as a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path}: leads nowhere ({error.strerror}); remove it") from error


def visible(folder: Path, most: int | None = None) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, or the first ones of them.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return list(islice((e for e in entries if not e.name.startswith(".")), most))
    except OSError as error:
        raise DataError(
            f"{folder}: may not be listed ({error.strerror}); give its reader permission"
        ) from error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder, sorted.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    # Archivers leave __MACOSX.
    return sorted(e.name for e in visible(folder) if e.name != "__MACOSX" and is_folder(e))


def class_records(
    root: Path, folder: str, classes: Sequence[str], *, optional: bool = False
) -> Records:
    """Return a record for each image of `root/folder/class`.

    Args:
        root: the dataset's folder.
        folder: the folder of the class folders, relative to root; "" means root itself.
        classes: the names of the class folders; the label is the position in this list.
        optional: whether a class may be missing or empty.

    Raises:
        DataError: if a class folder is missing or empty, or a file name is not UTF-8; the message
            names them.
    """
    records: list[Record] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        place = f"{folder}/{name}" if folder else name
        names = [e.name for e in visible(root / place)] if (root / place).is_dir() else []
        # Judge by name alone: a stat of a million files takes minutes on a network file system.
        images = sorted(n for n in names if PurePath(n).suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            empty.append(place)
        if strange := [image for image in images if not is_text(image)]:
            raise DataError(f"{root}/{place}: names that are not UTF-8: {listed(strange)}; rename")
        records += [Record(f"{place}/{image}", label) for image in images]
    if empty and not optional:
        raise DataError(
            f"{root}: no images ({' '.join(sorted(IMAGE_SUFFIXES))}) in {listed(empty)}"
        )
    return tuple(records)


def load_folder(name: str, root: Path) -> Contents:
    """Read `root/class/*` or `root/{train,val,test}/class/*`; folder names are class names.

    The folders in root are classes, unless there is a `train` folder and a `test` or `val` folder.
    A folder without split folders is split by `fixed_split`. If there is `train` and `val` but no
    `test`, the `val` images are the test split.

    Args:
        name: the dataset's name in results.
        root: the dataset's folder.

    Raises:
        DataError: if there are no class folders, a class has too few images, or a class is in val
            or test but not in train.
    """
    if not (found := subfolders(root)):
        raise DataError(
            f"{root}: no class folders; allowed are root/class/*.jpg and "
            "root/{train,val,test}/class/*.jpg"
        )
    places = find_parts("folders", found, SPLITS, {}, where=str(root))
    if "test" not in places and "val" in places:
        places["test"] = places.pop("val")
    if not places.keys() >= {"train", "test"}:
        names = class_table(enumerate(found), where=str(root))
        parts = fixed_split(class_records(root, "", names), names, key=name)
        return names, *parts, FolderSource(root)
    classes = subfolders(root / places["train"])
    names = class_table(enumerate(classes), where=f"{root}/{places['train']}")
    for place in places.values():
        if extra := sorted(set(subfolders(root / place)) - set(classes)):
            raise DataError(
                f"{root}/{place}: classes without training images: {listed(extra)}; "
                f"allowed are the folders of {root}/{places['train']}"
            )
    train, val, test = (
        class_records(root, places[split], classes, optional=split != "train")
        if split in places
        else ()
        for split in SPLITS
    )
    return names, train, val, test, FolderSource(root)
