"""Your own images: folders with one folder per class, and tables beside the images.

The folders of classes of published datasets are listed in the same way.
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.sources import IMAGE_SUFFIXES, FolderSource
from study.data.records import (
    SPLITS,
    Contents,
    Record,
    Records,
    check_splits,
    class_table,
    encoding_fault,
    find_parts,
    fixed_split,
    is_text,
    listed,
    read_label,
    relative_path,
)
from study.errors import DataError

# Part → column names that are recognized without the option `columns`; the first one is ours.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "image_path", "filepath", "file_name", "filename", "file", "impath", "image"),
    "label": ("label", "labels", "target"),
    "class_name": ("class_name", "class name", "classname", "class"),
    "split": ("split",),
}
SPLIT_OF = {alias: split for split, aliases in SPLITS.items() for alias in aliases}
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
LEFTOVERS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""What archivers and Windows leave in folders without being asked."""


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
    """Return the entries of a folder that are not hidden or left over, or the first ones of them.

    Raises:
        DataError: if the folder is missing or may not be listed.
    """
    try:
        with os.scandir(folder) as entries:
            seen = (e for e in entries if e.name[0] != "." and e.name not in LEFTOVERS)
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
        _refuse_split_alone(root, found, places)
        names = class_table(enumerate(found), where=str(root))
        splits = fixed_split(class_records(root, "", names), names, key=name)
        return names, *splits, FolderSource(root, class_folders=names)
    classes = subfolders(root / places["train"])
    names = class_table(enumerate(classes), where=f"{root}/{places['train']}")
    class_folders: list[str] = []
    for place in places.values():
        folders = subfolders(root / place)
        class_folders += [f"{place}/{folder}" for folder in folders]
        if extra := sorted(set(folders) - set(classes)):
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
    return names, train, val, test, FolderSource(root, class_folders=tuple(class_folders))


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


def load_table(name: str, file: Path, *, columns: Mapping[str, str] | None = None) -> Contents:
    """Read a table with one image per row and paths relative to the table's folder.

    Without a `split` column the images are split by `fixed_split`. If that column has no test rows,
    the validation rows are the test split. Labels may be missing or be class names themselves; the
    names are then numbered in alphabetical order.

    Args:
        name: the dataset's name in results.
        file: the table, a .csv, .tsv or .parquet file.
        columns: "path", "label", "class_name", "split" → column of the table, where the default
            names do not fit.

    Raises:
        DataError: if columns are missing or a row is malformed; the message names them.
    """
    table = _read_columns(file)
    if not any(table.values()):
        raise DataError(f"{file}: has no rows")
    names = find_parts("columns", list(table), COLUMNS, columns or {}, where=str(file))
    if "path" not in names or not {"label", "class_name"} & names.keys():
        raise DataError(
            f"{file}: needs a column 'path' and a column 'label' or 'class_name' (or both); "
            f"got {listed(table)}"
        )
    pairs = _classes(file, {part: table[column] for part, column in names.items()})
    class_names = class_table(sorted(set(pairs)), where=str(file))
    splits = table[names["split"]] if "split" in names else [None] * len(pairs)
    records: dict[str, list[Record]] = {split: [] for split in (*SPLITS, "")}
    for number, (cell, split, (label, _)) in enumerate(
        zip(table[names["path"]], splits, pairs, strict=True), start=1
    ):
        where = f"{file}, row {number}"
        text = str(cell or "")
        if Path(text).is_relative_to(file.parent.absolute()):
            text = Path(text).relative_to(file.parent.absolute()).as_posix()
        if (lowered := str(split or "").strip().lower()) and lowered not in SPLIT_OF:
            raise DataError(f"{where}: split {split!r}; allowed: {', '.join(SPLIT_OF)}")
        records[SPLIT_OF.get(lowered, "")].append(Record(relative_path(text, where=where), label))
    train, val, test, unsplit = (tuple(found) for found in records.values())
    if unsplit and (train or val or test):
        raise DataError(f"{file}: {len(unsplit)} rows have no split; allowed: all or none")
    check_splits(train or unsplit, val, test, where=str(file))
    if unsplit:
        train, val, test = fixed_split(unsplit, class_names, key=name)
    elif not test:
        val, test = (), val
    return class_names, train, val, test, FolderSource(file.parent)


def is_path_table(file: Path) -> bool:
    """Return whether a Parquet table holds paths rather than the images themselves.

    Raises:
        DataError: if the file is not readable Parquet.
    """
    try:
        kinds = pq.read_schema(file).types
    # A column name that is not UTF-8 raises ValueError.
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({error})") from error
    return not any(pa.types.is_struct(kind) or pa.types.is_binary(kind) for kind in kinds)


def _read_columns(file: Path) -> dict[str, Sequence[object]]:
    """Read the cells of each column; those of CSV and TSV stay text: a class may be named "1"."""
    try:
        if file.suffix.lower() == ".parquet":
            return dict(pq.read_table(file).to_pydict())
        with file.open(encoding="utf-8-sig", newline="") as lines:
            head = lines.readline()
            lines.seek(0)
            # In some countries spreadsheets write CSV with semicolons.
            separator = ";" if ";" in head and "," not in head else ","
            reader = csv.reader(
                lines,
                delimiter="\t" if file.suffix.lower() == ".tsv" else separator,
                strict=True,
                skipinitialspace=True,
            )
            names = [name.strip() for name in next(reader, [])]
            rows = [row for row in reader if row]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: cannot be read ({encoding_fault(error)})") from error
    # Damaged files raise many kinds of errors, such as that of times out of range.
    except (OSError, pa.ArrowException, csv.Error, ValueError, ArithmeticError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    if len(set(names)) < len(names):
        raise DataError(f"{file}: two columns have one name; got {listed(names)}")
    if odd := [number for number, row in enumerate(rows, start=1) if len(row) != len(names)]:
        raise DataError(f"{file}, row {odd[0]}: other than {len(names)} fields")
    return dict(zip(names, zip(*rows, strict=True), strict=False))


def _classes(file: Path, table: Mapping[str, Sequence[object]]) -> list[tuple[int, str]]:
    """Return the (label, class name) of every row of a table with the columns of `COLUMNS`."""
    cells = {
        part: ["" if value is None else str(value).strip() for value in table[part]]
        for part in ("label", "class_name")
        if part in table
    }
    # A data frame writes 3 as 3.0 if its column once had missing values.
    texts = [re.sub(r"^(\d+)\.0+$", r"\1", text) for text in cells.get("label", ())]
    names = cells.get("class_name", texts)
    texts = texts or names
    if "class_name" not in cells and all(text.isdecimal() for text in texts):
        raise DataError(f"{file}: labels are numbers, so a column 'class_name' is needed as well")
    label_of = {text: label for label, text in enumerate(sorted(set(texts)))}
    if len(cells) == 2:
        label_of = {text: label for text in texts if (label := read_label(text)) is not None}
        if bad := [number for number, text in enumerate(texts, start=1) if text not in label_of]:
            raise DataError(
                f"{file}, row {bad[0]}: label {texts[bad[0] - 1]!r:.80}; allowed are whole numbers "
                "from 0"
            )
    return [(label_of[text], name) for text, name in zip(texts, names, strict=True)]
