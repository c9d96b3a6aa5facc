"""ImageNet and its four shifted test sets: folders by WordNet id, names from classnames.txt.

ImageNet's own validation images are the test split, as in the field's papers. Validation images
for selection are therefore drawn from the training images.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from study.data.images.sources import FolderSource
from study.data.prompts import templates_of
from study.data.readers.benchmarks import SHIFTS, download_note
from study.data.readers.coop import dataset_folder, read_lines, require_folder
from study.data.readers.folders import class_records, subfolders
from study.data.records import Dataset, Record, listed
from study.errors import DataError

logger = logging.getLogger(__name__)


_NAMES = "classnames.txt"


def read_class_names(path: Path, *, hint: str) -> dict[str, str]:
    """Read `n01440764 tench` lines: WordNet id → class name, in the file's order.

    Raises:
        DataError: if the file cannot be read or is empty, or a line is malformed or repeats an id;
            the message names the line.
    """
    names: dict[str, str] = {}
    for number, line in read_lines(path, hint=hint):
        wnid, _, name = line.partition(" ")
        if not name.strip() or wnid in names:
            reason = "repeats an id" if wnid in names else "has no class name"
            raise DataError(f"{path}, line {number}: {line[:80]!r} {reason}; allowed: 'id name'")
        names[wnid] = name.strip()
    if not names:
        raise DataError(f"{path}: has no class names. {hint}")
    # The published list has a few names twice (such as that of sunglasses), so a repeated name
    # cannot be an error here.
    if doubled := [name for name, count in Counter(names.values()).items() if count > 1]:
        logger.info("%s: class names used twice: %s", path, listed(doubled))
    return names


def load_imagenet(
    name: str, root: Path, *, templates: Sequence[str] | None = None, require_images: bool = True
) -> Dataset:
    """Read ImageNet, with its validation images as the test split.

    Raises:
        DataError: if a folder or classnames.txt is missing, or the two splits differ in classes.
    """
    folder = dataset_folder(root, "imagenet", _NAMES)
    hint = download_note(name, folder)
    names = read_class_names(folder / _NAMES, hint=hint)
    splits: dict[str, tuple[Record, ...]] = {"train": (), "val": ()}
    wnids = list(names)
    for split in splits:
        place = f"images/{split}"
        if require_images:
            require_folder(folder, place, hint=hint)
        if (folder / place).is_dir():
            found = _class_folders(folder / place, names, hint=hint)
            if split == "val" and splits["train"] and found != wnids:
                raise DataError(
                    f"{folder}/images: train and val differ in classes: "
                    f"{listed(sorted(set(found) ^ set(wnids)))}. {hint}"
                )
            wnids = found
            splits[split] = class_records(folder, place, wnids, hint=hint)
    return Dataset(
        name=name,
        class_names=tuple(names[wnid] for wnid in wnids),
        templates=templates_of(name, templates),
        train=splits["train"],
        val=(),
        test=splits["val"],
        source=FolderSource(folder, ("images", "images/train", "images/val")),
    )


def load_shift(
    name: str, root: Path, *, templates: Sequence[str] | None = None, require_images: bool = True
) -> Dataset:
    """Read a shifted test set, which has no training images.

    Raises:
        DataError: if a folder or classnames.txt is missing, or a folder has no class name.
    """
    shift = SHIFTS[name]
    folder = dataset_folder(root, shift.folder, shift.images)
    hint = download_note(name, folder)
    names = read_class_names(_names_file(folder), hint=hint)
    if require_images:
        require_folder(folder, shift.images, hint=hint)
    keys = [str(position) for position in range(len(names))] if shift.numbered else list(names)
    by_key = dict(zip(keys, names.values(), strict=True))
    place = folder / shift.images
    present = _class_folders(place, by_key, hint=hint) if place.is_dir() else []
    # The class of a missing numbered folder stays a possible answer, without images.
    classes = keys if shift.numbered or not present else present
    return Dataset(
        name=name,
        class_names=tuple(by_key[key] for key in classes),
        templates=templates_of(name, templates),
        train=(),
        val=(),
        test=class_records(folder, shift.images, classes, optional=True) if present else (),
        source=FolderSource(folder, (shift.images,)),
    )


def _names_file(folder: Path) -> Path:
    """Return the path of classnames.txt: in the dataset's folder or in imagenet/ beside it."""
    beside = folder.parent / "imagenet" / _NAMES
    return beside if not (folder / _NAMES).exists() and beside.exists() else folder / _NAMES


def absent_classes(name: str, dataset: Dataset) -> list[str]:
    """Return the class folders that are missing or have no image.

    No file lists the classes of a subset. Its missing folders are therefore only counted, and only
    if classnames.txt is complete.
    """
    source = dataset.source
    if not isinstance(source, FolderSource):
        return []
    names = read_class_names(_names_file(source.root), hint="")
    shift = SHIFTS.get(name)
    keys = [str(k) for k in range(len(names))] if shift and shift.numbered else list(names)
    filled = {record.path.rpartition("/")[0] for record in (*dataset.train, *dataset.test)}
    absent: list[str] = []
    for place in [shift.images] if shift else ["images/train", "images/val"]:
        if not (source.root / place).is_dir():
            continue
        present = subfolders(source.root / place)
        wanted = present if shift and shift.subset else sorted(keys)
        absent += [f"{place}/{key}" for key in wanted if f"{place}/{key}" not in filled]
        if shift and len(present) < shift.subset and len(names) >= 1000:
            absent.append(f"{place}/n… ({shift.subset - len(present)} of {shift.subset})")
    return absent


def _class_folders(folder: Path, names: dict[str, str], *, hint: str) -> list[str]:
    """Return the names of the class folders, sorted, which is the order of their labels.

    Raises:
        DataError: if there are none, or one has no class name.
    """
    found = subfolders(folder)
    if unknown := [wnid for wnid in found if wnid not in names]:
        raise DataError(f"{folder}: folders without a class name: {listed(unknown)}. {hint}")
    if not found:
        raise DataError(f"{folder}: has no class folders, one for each id of {_NAMES}. {hint}")
    return found
