"""Your own images in folders, one folder per class.

The folders of classes of published datasets are listed in the same way.
"""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePath

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.output_folders import is_output_folder
from study.data.records import (
    SPLITS,
    ClassNames,
    Contents,
    Record,
    Records,
    Splits,
    class_table,
    is_text,
    listed,
    match_names,
)
from study.data.splits import find_groups, fixed_split
from study.errors import DataError

LEFTOVERS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""The names of what archivers and Windows leave in folders."""
Entry = os.DirEntry[str]
"""A file or folder in a folder."""


def is_folder(entry: Entry) -> bool:
    """Return whether an entry of a folder is a folder or a link to one, not a broken link."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or left over."""
    return name.startswith(".") or name in LEFTOVERS


def visible(folder: Path) -> list[Entry]:
    """Return the entries of a folder that are not hidden or left over.

    Raises:
        DataError: if the folder is missing or cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder that studies did not write, sorted.

    Raises:
        DataError: if the folder is missing or cannot be listed.
    """
    names = [entry.name for entry in visible(folder) if is_folder(entry)]
    return sorted(name for name in names if not is_output_folder(folder / name))


def is_image_name(name: str) -> bool:
    """Return whether a file name has the suffix of an image."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


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
        DataError: a class folder is missing or empty, or a file name in it is not UTF-8.
    """
    records = []
    empty = []
    for label, name in enumerate(classes):
        class_folder = posixpath.join(folder, name)
        path = root / class_folder
        images = []
        if path.is_dir():
            # Judge by name alone: a stat of a million files takes minutes on a network file system.
            images = [entry.name for entry in visible(path) if is_image_name(entry.name)]
        if not all(map(is_text, images)):
            raise DataError(f"{path}: has file names that are not UTF-8; rename them")
        if not images:
            empty.append(class_folder)
        records += [Record(f"{class_folder}/{image}", label) for image in sorted(images)]
    if empty and not optional:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{root}: no images ({suffixes}) in {listed(empty)}")
    return tuple(records)


def load_folder(name: str, root: Path, *, groups: str | None = None) -> Contents:
    """Read `root/class/*` or `root/{train,val,test}/class/*`; folder names are class names.

    The folders in root are classes, unless there is a `train` folder and a `test` or `val` folder.
    A folder without split folders is split by `fixed_split`. If there is `train` and `val` but no
    `test`, the `val` images are the test split.

    Args:
        name: the dataset's name in results.
        root: the dataset's folder.
        groups: the pattern of the groups, see `study.data.splits.find_groups`.

    Raises:
        DataError: there are no class folders, or a class has no or too few images or is in val or
            test but not in train; a path tells no group; or two folders have the same name in a
            prompt.
    """
    folders = subfolders(root)
    split_folders = match_names("folders", folders, SPLITS, {}, where=str(root))
    if "test" not in split_folders and "val" in split_folders:
        split_folders["test"] = split_folders.pop("val")
    if "train" not in split_folders or "test" not in split_folders:
        names = _class_names(root, folders)
        records = find_groups(class_records(root, "", names), groups, where=root)
        return names, fixed_split(records, names, key=name), FolderSource(root, by_class=True)
    train = root / split_folders["train"]
    names = _class_names(train, subfolders(train))
    of_split = {}
    for split, folder in split_folders.items():
        untrained = sorted(set(subfolders(root / folder)) - set(names))
        if untrained:
            raise DataError(
                f"{root}/{folder}: classes without training images: {listed(untrained)}; "
                f"expected the folders of {train}"
            )
        records = class_records(root, folder, names, optional=split != "train")
        of_split[split] = find_groups(records, groups, where=root)
    return names, Splits(**of_split), FolderSource(root, by_class=True)


def _class_names(root: Path, folders: Sequence[str]) -> ClassNames:
    """Return the names of class folders as class names.

    Raises:
        DataError: there are none, or they are not UTF-8, or the same text in a prompt.
    """
    if not folders:
        raise DataError(
            f"{root}: no class folders; expected root/class/*.jpg and "
            "root/{train,val,test}/class/*.jpg, or a table of images as root itself"
        )
    return class_table(enumerate(folders), where=str(root))
