"""Image folders with one folder per class, with or without folders for the splits."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.prompts import templates_of
from study.data.records import (
    Dataset,
    Record,
    check_splits,
    class_table,
    fixed_split,
    is_text,
    listed,
)
from study.errors import DataError

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a folder or a link to one.

    Raises:
        DataError: the entry cannot be accessed, such as a link that leads to itself.
    """
    try:
        return entry.is_dir()
    except OSError as error:
        raise DataError(f"{entry.path}: leads nowhere ({error.strerror}); remove it") from error


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: no such folder") from error
    except PermissionError as error:
        raise DataError(f"{folder}: may not be listed; give its reader permission") from error


def subfolders(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder, sorted.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    # Archivers leave __MACOSX.
    visible = (entry for entry in _visible(folder) if entry.name != "__MACOSX")
    return sorted(entry.name for entry in visible if is_folder(entry))


def class_records(
    root: Path, folder: str, classes: Sequence[str], *, optional: bool = False, hint: str = ""
) -> tuple[Record, ...]:
    """Return a record for each image of `root/folder/class`.

    Args:
        root: the dataset's folder.
        folder: the folder of the class folders, relative to root; "" means root itself.
        classes: the names of the class folders; the label is the position in this list.
        optional: whether a class may be missing or empty.
        hint: how to get the images, for the message.

    Raises:
        DataError: if a class folder is missing or empty, or a file name is not UTF-8; the message
            names them.
    """
    records: list[Record] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        place = f"{folder}/{name}" if folder else name
        names = [e.name for e in _visible(root / place)] if (root / place).is_dir() else []
        # Judge by name alone: a stat of a million files takes minutes on a network file system.
        images = sorted(n for n in names if PurePath(n).suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            empty.append(place)
        if strange := [image for image in images if not is_text(image)]:
            raise DataError(f"{root}/{place}: names that are not UTF-8: {listed(strange)}; rename")
        records += [Record(f"{place}/{image}", label) for image in images]
    if empty and not optional:
        allowed = " ".join(sorted(IMAGE_SUFFIXES))
        ending = f". {hint}" if hint else ""
        raise DataError(f"{root}: no images ({allowed}) in {listed(empty)}{ending}")
    return tuple(records)


def load_folder(name: str, root: Path, *, templates: Sequence[str] | None = None) -> Dataset:
    """Read `root/class/*` or `root/{train,val,test}/class/*`; folder names are class names.

    The folders in root are classes, unless there is a `train` folder and a `test` or `val` folder.
    A folder without split folders is split by `fixed_split`. If there is `train` and `val` but no
    `test`, the `val` images are the test split.

    Args:
        name: the dataset's name in results.
        root: the dataset's folder.
        templates: prompt templates that replace the default one.

    Raises:
        DataError: if there are no class folders, a class has too few images, or a class is in val
            or test but not in train.
    """
    found = subfolders(root)
    if not found:
        raise DataError(
            f"{root}: no class folders; allowed are root/class/*.jpg and "
            "root/{train,val,test}/class/*.jpg"
        )
    by_name = {name.lower(): name for name in found}
    trained, validated, tested = (
        next((by_name[alias] for alias in aliases if alias in by_name), None)
        for aliases in SPLITS.values()
    )
    if not tested:
        validated, tested = None, validated
    if trained and tested:
        classes = subfolders(root / trained)
        names = class_table(enumerate(classes), where=f"{root}/{trained}")
        for place in filter(None, (validated, tested)):
            if extra := sorted(set(subfolders(root / place)) - set(classes)):
                raise DataError(
                    f"{root}/{place}: classes without training images: {listed(extra)}; "
                    f"allowed are the folders of {root}/{trained}"
                )
        train = class_records(root, trained, classes)
        test = class_records(root, tested, classes, optional=True)
        val = class_records(root, validated, classes, optional=True) if validated else ()
    else:
        names = class_table(enumerate(found), where=str(root))
        train, val, test = fixed_split(class_records(root, "", names), names, key=name)
    check_splits(train, val, test, where=str(root))
    return Dataset(
        name=name,
        class_names=names,
        templates=templates_of(name, templates),
        train=train,
        val=val,
        test=test,
        source=FolderSource(root),
    )
