"""The published datasets, in the folders and with the lists in which the field keeps them.

A split file of CoOp is `{"train": [[path, label, class name], …], "val": …, "test": …}`; its paths
are relative to the image folder. The class names in the published files are those of
the prompts, not of the image folders.

ImageNet and its four shifted test sets have folders by WordNet id, and names in classnames.txt.
ImageNet's own validation images are the test split, as in the field's papers. Validation images
for selection are therefore drawn from the training images.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from study.data.images.sources import FolderSource
from study.data.readers.benchmarks import BENCHMARKS, LAYOUTS, Counts, Layout, download_note
from study.data.readers.folders import class_records, subfolders
from study.data.readers.tables import rows_contents
from study.data.records import (
    SPLITS,
    ClassNames,
    Contents,
    Dataset,
    Splits,
    listed,
    read_json,
    read_text,
)
from study.errors import DataError

CLASS_NAMES = "classnames.txt"
Lists = tuple[ClassNames, Splits]
"""The class names, and the images of each split."""


def load_published(name: str, root: Path) -> Contents:
    """Read a dataset of the table of benchmarks, from its folder in root or from root itself.

    Raises:
        DataError: if a list or an image folder is missing, or a list is invalid; the message says
            how to get the dataset.
    """
    layout = LAYOUTS[name]
    path = root / layout.folder
    if not path.is_dir() and (root / (layout.split or layout.images)).exists():
        path = root
    read = _read_imagenet
    if layout.split:
        read = read_split_file if layout.split.endswith(".json") else _read_aircraft
    try:
        names, splits = read(path, layout)
        if not (path / layout.images).is_dir():
            raise DataError(f"image folder {layout.images} is missing; looked in {path}")
    except DataError as error:
        raise DataError(f"{error}. {download_note(name, path)}") from error
    return names, splits, FolderSource(path)


def read_split_file(folder: Path, layout: Layout) -> Lists:
    """Read a dataset that has a split file of CoOp.

    Raises:
        DataError: if the file is missing or not JSON, or an entry is malformed, is listed twice, or
            has a path outside the folder; the message names the entry.
    """
    path = folder / layout.split
    rows = {}
    match read_json(path):
        case {"train": [*train_items], "val": [*val_items], "test": [*test_items]}:
            lists = (train_items, val_items, test_items)
        case _:
            raise DataError(f"{path}: needs the lists 'train', 'val' and 'test'")
    for split, items in zip(SPLITS, lists, strict=True):
        for number, item in enumerate(items):
            place = f"{split}[{number}]"
            match item:
                case [str(text), label, str(name)]:
                    image = posixpath.join(layout.images, text)
                    rows[place] = (image, str(label), name.strip(), split)
                case _:
                    raise DataError(
                        f"{path}, {place}: got {item!r:.200}; expected [path, label, class name]"
                    )
    return _listed_contents(rows, where=str(path))


def _listed_contents(rows: Mapping[str, tuple[str, str, str, str]], *, where: str) -> Lists:
    """Return the classes and images of a published list.

    Args:
        rows: place of an entry in the list → its path, label, class name and split.
        where: the list, for messages.

    Raises:
        DataError: entries are malformed.
    """
    columns = ["path", "label", "class_name", "split"]
    frame = pd.DataFrame([*rows.values()], columns=columns, index=[*rows], dtype=object)
    return rows_contents(where, frame, where=where)


def _read_aircraft(folder: Path, layout: Layout) -> Lists:
    """Read FGVC Aircraft, whose splits are text files with one `image variant` per line.

    Raises:
        DataError: if a list is missing, or a line has an unknown variant.
    """
    variants = [*_lines(folder / layout.split).values()]
    rows = {}
    for split in SPLITS:
        file = f"images_variant_{split}.txt"
        for number, line in _lines(folder / file).items():
            place = f"{file}, line {number}"
            image, _, variant = line.partition(" ")
            variant = variant.strip()
            if variant not in variants:
                raise DataError(f"{folder}/{place}: variant {variant!r} is not in {layout.split}")
            label = variants.index(variant)
            rows[place] = (f"{layout.images}/{image}.jpg", str(label), variant, split)
    return _listed_contents(rows, where=str(folder))


def _lines(path: Path) -> dict[int, str]:
    """Return the lines of a text file that are not blank: number of the line → stripped text."""
    lines = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if text:
            lines[number] = text
    return lines


def read_class_names(path: Path) -> dict[str, str]:
    """Read `n01440764 tench` lines: WordNet id → class name, in the file's order.

    Raises:
        DataError: if the file cannot be read or is empty, or a line is malformed or repeats an id;
            the message names the line.
    """
    names = {}
    for number, line in _lines(path).items():
        wnid, _, name = line.partition(" ")
        fault = ""
        if wnid in names:
            fault = "repeats an id"
        elif not name.strip():
            fault = "has no class name"
        if fault:
            raise DataError(f"{path}, line {number}: {line[:80]!r} {fault}; expected 'id name'")
        names[wnid] = name.strip()
    if not names:
        raise DataError(f"{path}: has no class names")
    # The published list has a few names twice (such as that of sunglasses), so a repeated name
    # cannot be an error here.
    return names


def _read_imagenet(folder: Path, layout: Layout) -> Lists:
    """Read ImageNet, or one of its shifted test sets, which have no training images.

    Its classnames.txt is in the dataset's folder, or in imagenet/ beside it.

    Raises:
        DataError: if classnames.txt is missing, a split has no class folders, one of these has no
            class name, or the two splits of ImageNet differ in classes.
    """
    file = folder / CLASS_NAMES
    if not file.exists():
        file = folder.parent / "imagenet" / CLASS_NAMES
    names = read_class_names(file)
    if layout.numbered:
        names = {str(number): text for number, text in enumerate(names.values())}
    split_folders = {"test": layout.images}
    if layout.train:
        split_folders["train"] = layout.train
    classes_of = {}
    for split, split_folder in split_folders.items():
        parent = folder / split_folder
        classes_of[split] = subfolders(parent)
        unknown = [wnid for wnid in classes_of[split] if wnid not in names]
        if unknown:
            raise DataError(f"{parent}: folders without a class name: {listed(unknown)}")
        if not classes_of[split]:
            raise DataError(f"{parent}: has no class folders, one for each id of {CLASS_NAMES}")
    classes = classes_of["test"]
    if layout.numbered:  # the class of a missing folder stays a possible answer
        classes = list(names)
    differing = set(classes) ^ set(classes_of.get("train", classes))
    if differing:
        raise DataError(
            f"{folder}/images: train and val differ in classes: {listed(sorted(differing))}"
        )
    records = {
        split: class_records(folder, split_folder, classes, optional=not layout.train)
        for split, split_folder in split_folders.items()
    }
    return tuple(names[wnid] for wnid in classes), Splits(**records)


def differing_counts(dataset: Dataset) -> Counts | None:
    """Return the published numbers of a benchmark dataset if they differ from its own.

    Return None if they do not, or if none are published.
    """
    benchmark = BENCHMARKS.get(dataset.name)
    if benchmark is None:
        return None
    counts = Counts(*map(len, (dataset.class_names, dataset.train, dataset.val, dataset.test)))
    if benchmark.counts == counts:
        return None
    return benchmark.counts
