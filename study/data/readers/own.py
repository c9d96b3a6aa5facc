"""Your own images in folders, one folder per class.

The folders of classes of published datasets are listed in the same way.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.records import (
    SPLITS,
    Contents,
    DataFaults,
    Record,
    Records,
    class_table,
    find_parts,
    fixed_split,
    is_text,
    listed,
)
from study.errors import DataError

LEFTOVERS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""What archivers and Windows leave in folders without being asked."""


class NoImagesError(DataError):
    """A folder without class folders, or class folders without images."""


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a folder or a link to one.

    Raises:
        DataError: the entry cannot be accessed, such as a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path}: is a broken link ({error.strerror}); remove it") from error


def visible(
    folder: Path, most: int | None = None, *, hidden: bool = False
) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden or left over.

    Args:
        folder: the folder.
        most: how many entries are returned at most, the first ones; None means all.
        hidden: whether the hidden entries are wanted, and not the others.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    try:
        with os.scandir(folder) as entries:
            seen = (e for e in entries if (e.name[0] == ".") is hidden and e.name not in LEFTOVERS)
            return list(islice(seen, most))
    except OSError as error:
        advice = "; give its reader permission" if isinstance(error, PermissionError) else ""
        raise DataError(f"{folder}: may not be listed ({error.strerror}){advice}") from error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder, sorted.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    return sorted(e.name for e in visible(folder) if is_folder(e))


def holds_images(folder: Path) -> bool:
    """Return whether there is an image in a folder itself, by its name.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    return any(PurePath(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in visible(folder))


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
        NoImagesError: a class folder is missing or empty; the message names it.
        DataError: a file name is not UTF-8; the message names it.
    """
    records: list[Record] = []
    places = [f"{folder}/{name}" if folder else name for name in classes]
    for label, place in enumerate(places):
        names = [e.name for e in visible(root / place)] if (root / place).is_dir() else []
        # Judge by name alone: a stat of a million files takes minutes on a network file system.
        images = sorted(n for n in names if PurePath(n).suffix.lower() in IMAGE_SUFFIXES)
        if strange := [image for image in images if not is_text(image)]:
            raise DataError(f"{root}/{place}: names that are not UTF-8: {listed(strange)}; rename")
        records += [Record(f"{place}/{image}", label) for image in images]
    filled = {record.label for record in records}
    empty = [place for label, place in enumerate(places) if label not in filled]
    if empty and not optional:
        raise NoImagesError(
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
        NoImagesError: there are no class folders, or there is one without images.
        DataError: a class has too few images, or is in val or test but not in train, or two
            folders have the same name in a prompt.
    """
    folders = subfolders(root)
    if not folders:
        raise NoImagesError(
            f"{root}: no class folders; allowed are root/class/*.jpg and "
            "root/{train,val,test}/class/*.jpg"
        )
    places = find_parts("folders", folders, SPLITS, {}, where=str(root))
    if "test" not in places and "val" in places:
        places["test"] = places.pop("val")
    if not places.keys() >= {"train", "test"}:
        _refuse_split_alone(root, folders, places)
        names = _class_names(root, folders)
        splits = fixed_split(class_records(root, "", names), names, key=name)
        return names, *splits, FolderSource(root, class_folders=names)
    classes = _class_names(root / places["train"], subfolders(root / places["train"]))
    class_folders: list[str] = []
    for place in places.values():
        of_split = subfolders(root / place)
        class_folders += [f"{place}/{folder}" for folder in of_split]
        if extra := sorted(set(of_split) - set(classes)):
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
    return classes, train, val, test, FolderSource(root, class_folders=tuple(class_folders))


def _class_names(root: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """Return the names of class folders as class names.

    Raises:
        NoImagesError: there are none.
        DataFaults: names are not UTF-8, or the same text in a prompt; each is named.
    """
    if not folders:
        raise NoImagesError(f"{root}: no class folders")
    faults: list[str] = []
    if strange := [folder for folder in folders if not is_text(folder)]:
        faults.append(f"{root}: folders with names that are not UTF-8: {listed(strange)}; rename")
    alike: dict[str, list[str]] = {}
    for folder in folders:
        alike.setdefault(folder.replace("_", " "), []).append(folder)
    for same in alike.values():
        if len(same) > 1:
            faults.append(
                f"{root}: the folders {' and '.join(map(repr, same))} would be one class, since "
                "'_' is read as a space; rename one of them, or put their images into one folder"
            )
    if faults:
        raise DataFaults(faults)
    return class_table(enumerate(folders), where=str(root))


def _refuse_split_alone(root: Path, found: Sequence[str], places: Mapping[str, str]) -> None:
    """Raise if there are class folders of one split alone; a class may have a split's name."""
    for split, place in places.items():
        if len(found) == 1 and subfolders(root / place):
            lacking = "'test' or 'val'" if split == "train" else "'train'"
            raise DataError(
                f"{root}: has {place!r} without {lacking}, and a study trains on some images and "
                f"is tested on others; allowed are both folders, or {root / place} itself as the "
                "dataset's folder, whose images are then split by a fixed rule"
            )
