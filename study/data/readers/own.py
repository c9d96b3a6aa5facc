"""Your own images in folders, one folder per class.

The folders of classes of published datasets are listed in the same way.
"""

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.outputs import is_output
from study.data.records import (
    SPLITS,
    ClassNames,
    Contents,
    Record,
    Records,
    Splits,
    class_table,
    find_parts,
    is_text,
    listed,
)
from study.data.splits import find_groups, fixed_split
from study.errors import DataError

LEFTOVERS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""The names of what archivers and Windows leave in folders."""


Entry = os.DirEntry[str]
"""A file or folder in a folder."""


class NoImagesError(DataError):
    """A folder without class folders, or class folders without images."""


def is_folder(entry: Entry) -> bool:
    """Return whether an entry of a folder is a folder or a link to one.

    Raises:
        DataError: the entry cannot be accessed, such as a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path}: is a broken link ({error.strerror}); remove it") from error


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or left over."""
    return name.startswith(".") or name in LEFTOVERS


def visible(folder: Path, most: int | None = None) -> list[Entry]:
    """Return the entries of a folder that are not hidden or left over.

    Args:
        folder: the folder.
        most: how many entries are returned at most, the first ones; None means all.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    entries: list[Entry] = []
    try:
        with os.scandir(folder) as every_entry:
            for entry in every_entry:
                if len(entries) == most:
                    break
                if not is_hidden(entry.name):
                    entries.append(entry)
    except OSError as error:
        advice = ""
        if isinstance(error, PermissionError):
            advice = "; give its reader permission"
        raise DataError(f"{folder}: may not be listed ({error.strerror}){advice}") from error
    return entries


def subfolders(folder: Path, storage: Path | None = None) -> list[str]:
    """Return the names of the visible folders in a folder that studies did not write, sorted.

    Args:
        folder: the folder.
        storage: the folder of studies, see `is_output`.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    names = [entry.name for entry in visible(folder) if is_folder(entry)]
    return sorted(name for name in names if not is_output(folder / name, storage))


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
        NoImagesError: a class folder is missing or empty; the message names it.
        DataError: a file name is not UTF-8; the message names it.
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
        not_text = sorted(image for image in images if not is_text(image))
        if not_text:
            raise DataError(
                f"{root}/{class_folder}: names that are not UTF-8: {listed(not_text)}; rename"
            )
        if not images:
            empty.append(class_folder)
        records += [Record(f"{class_folder}/{image}", label) for image in sorted(images)]
    if empty and not optional:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise NoImagesError(f"{root}: no images ({suffixes}) in {listed(empty)}")
    return tuple(records)


def load_folder(
    name: str, root: Path, *, groups: str | None = None, storage: Path | None = None
) -> Contents:
    """Read `root/class/*` or `root/{train,val,test}/class/*`; folder names are class names.

    The folders in root are classes, unless there is a `train` folder and a `test` or `val` folder.
    A folder without split folders is split by `fixed_split`. If there is `train` and `val` but no
    `test`, the `val` images are the test split.

    Args:
        name: the dataset's name in results.
        root: the dataset's folder.
        groups: the pattern of the groups, see `study.data.splits.find_groups`.
        storage: the folder of studies, which has no classes.

    Raises:
        NoImagesError: there are no class folders, or there is one without images.
        DataError: a path tells no group, a class has too few images, or is in val or test but not
            in train, or two folders have the same name in a prompt.
    """
    folders = subfolders(root, storage)
    split_folders = find_parts("folders", folders, SPLITS, {}, where=str(root))
    if "test" not in split_folders and "val" in split_folders:
        split_folders["test"] = split_folders.pop("val")
    if "train" not in split_folders or "test" not in split_folders:
        names = _class_names(root, folders)
        records = find_groups(class_records(root, "", names), groups, where=root)
        splits = fixed_split(records, names, key=name)
        return names, splits, FolderSource(root, class_folders=names)
    names, splits, source = _load_splits(root, split_folders, storage)
    grouped = Splits(*(find_groups(records, groups, where=root) for records in splits))
    return names, grouped, source


def _load_splits(root: Path, split_folders: Mapping[str, str], storage: Path | None) -> Contents:
    """Read the class folders of each split.

    Args:
        root: the dataset's folder.
        split_folders: split → its folder; at least those of "train" and "test".
        storage: the folder of studies.

    Raises:
        NoImagesError: there are no class folders, or a training one has no images.
        DataError: a class is not in train, or two folders have the same name in a prompt.
    """
    train_folder = root / split_folders["train"]
    classes = _class_names(train_folder, subfolders(train_folder, storage))
    class_folders = []
    for split_folder in split_folders.values():
        folders = subfolders(root / split_folder, storage)
        class_folders += [f"{split_folder}/{folder}" for folder in folders]
        untrained = sorted(set(folders) - set(classes))
        if untrained:
            raise DataError(
                f"{root}/{split_folder}: classes without training images: {listed(untrained)}; "
                f"allowed are the folders of {root}/{split_folders['train']}"
            )
    records = {}
    for split in SPLITS:
        if split in split_folders:
            folder = split_folders[split]
            records[split] = class_records(root, folder, classes, optional=split != "train")
    source = FolderSource(root, class_folders=tuple(class_folders))
    return classes, Splits(**records), source


def _class_names(root: Path, folders: Sequence[str]) -> ClassNames:
    """Return the names of class folders as class names.

    Raises:
        NoImagesError: there are none.
        DataError: names are not UTF-8, or the same text in a prompt.
    """
    if not folders:
        raise NoImagesError(
            f"{root}: no class folders; allowed are root/class/*.jpg and "
            "root/{train,val,test}/class/*.jpg"
        )
    return class_table(enumerate(folders), where=str(root))
