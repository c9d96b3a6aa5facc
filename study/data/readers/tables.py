"""Tables of (path, label, class name): CSV, TSV or Parquet beside the images."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.sources import FolderSource
from study.data.prompts import templates_of
from study.data.readers.folders import SPLITS
from study.data.records import (
    Dataset,
    Record,
    check_splits,
    class_table,
    fixed_split,
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

Row = Mapping[str, object]


def load_table(
    name: str,
    file: Path,
    *,
    templates: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Read a table with one image per row and paths relative to the table's folder.

    Without a `split` column the images are split by `fixed_split`. If that column has no test rows,
    the validation rows are the test split. Labels may be missing or be class names themselves; the
    names are then numbered in alphabetical order.

    Args:
        name: the dataset's name in results.
        file: the table, a .csv, .tsv or .parquet file.
        templates: prompt templates that replace the default one.
        columns: "path", "label", "class_name", "split" → column of the table, where the default
            names do not fit.

    Raises:
        DataError: if columns are missing or a row is malformed; the message names them.
    """
    rows = _read_parquet(file) if file.suffix == ".parquet" else _read_text(file)
    if not rows:
        raise DataError(f"{file}: has no rows")
    names = _column_names(file, list(rows[0]), columns or {})
    pairs = _classes(file, rows, names)
    class_names = class_table(sorted(set(pairs)), where=str(file))
    records: dict[str, list[Record]] = {"train": [], "val": [], "test": [], "": []}
    for number, (row, (label, _)) in enumerate(zip(rows, pairs, strict=True), start=1):
        where = f"{file}, row {number}"
        path = relative_path(_relative_to(file.parent, row.get(names["path"])), where=where)
        split = str(row.get(names["split"]) or "") if "split" in names else ""
        if (lowered := split.strip().lower()) and lowered not in SPLIT_OF:
            raise DataError(f"{where}: split {split!r}; allowed: {', '.join(SPLIT_OF)}")
        records[SPLIT_OF.get(lowered, "")].append(Record(path, label))
    if records[""] and any(records[split] for split in SPLITS):
        raise DataError(f"{file}: {len(records[''])} rows have no split; allowed: all or none")
    train, val, test = (tuple(records[split]) for split in ("train", "val", "test"))
    if records[""]:
        check_splits(records[""], (), (), where=str(file))
        train, val, test = fixed_split(records[""], class_names, key=name)
    elif not test:
        val, test = (), val
    check_splits(train, val, test, where=str(file))
    return Dataset(
        name=name,
        class_names=class_names,
        templates=templates_of(name, templates),
        train=train,
        val=val,
        test=test,
        source=FolderSource(file.parent),
    )


def is_path_table(file: Path) -> bool:
    """Return whether a Parquet table holds paths rather than the images themselves.

    Raises:
        DataError: if the file is not readable Parquet.
    """
    try:
        types = [column.type for column in pq.read_schema(file)]
    # A column name that is not UTF-8 raises ValueError.
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({error})") from error
    return not any(pa.types.is_struct(kind) or pa.types.is_binary(kind) for kind in types)


def _read_text(file: Path) -> list[Row]:
    """Read the rows of CSV or TSV; all values stay text, so that a class may be named "1"."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            head = lines.readline()
            lines.seek(0)
            # In some countries spreadsheets write CSV with semicolons.
            separator = ";" if ";" in head and "," not in head else ","
            reader = csv.DictReader(
                lines,
                delimiter="\t" if file.suffix == ".tsv" else separator,
                restkey="",
                strict=True,
                skipinitialspace=True,
            )
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            if len(set(reader.fieldnames)) < len(reader.fieldnames):
                raise DataError(
                    f"{file}: two columns have one name; got {listed(reader.fieldnames)}"
                )
            rows: list[Row] = []
            for number, row in enumerate(reader, start=1):
                if "" in row or None in row.values():
                    raise DataError(
                        f"{file}, row {number}: other than {len(reader.fieldnames or ())} fields"
                    )
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    return rows


def _relative_to(folder: Path, value: object) -> str:
    """Return a path relative to the folder if it is absolute and inside it, else unchanged."""
    text = str(value or "")
    inside = Path(text).is_absolute() and Path(text).is_relative_to(folder.absolute())
    return Path(text).relative_to(folder.absolute()).as_posix() if inside else text


def _read_parquet(file: Path) -> list[Row]:
    try:
        return list(pq.read_table(file).to_pylist())
    # Damaged files raise many kinds of errors: text that is not UTF-8, or times out of range.
    except (OSError, pa.ArrowException, ValueError, ArithmeticError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _column_names(file: Path, present: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each part of `COLUMNS` that the table has."""
    unknown = [part for part in asked if part not in COLUMNS]
    absent = [column for column in asked.values() if column not in present]
    if unknown or absent:
        raise DataError(
            f"{file}: columns {listed(unknown + absent)} are not there; parts are "
            f"{', '.join(COLUMNS)}, the table has {listed(present)}"
        )
    by_name = {column.lower(): column for column in reversed(present)} | {c: c for c in present}
    found = {
        part: column
        for part, aliases in COLUMNS.items()
        if (column := asked.get(part) or next((by_name[a] for a in aliases if a in by_name), ""))
    }
    if "path" not in found or not {"label", "class_name"} & set(found):
        raise DataError(
            f"{file}: needs a column 'path' and a column 'label' or 'class_name' (or both); "
            f"got {listed(present)}"
        )
    return found


def _classes(file: Path, rows: Sequence[Row], names: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return the (label, class name) of every row."""
    cells = {
        part: [_text(row.get(names[part])) for row in rows]
        for part in ("label", "class_name")
        if part in names
    }
    if "label" in cells:
        # A data frame writes 3 as 3.0 if its column once had missing values.
        cells["label"] = [re.sub(r"^(\d+)\.0+$", r"\1", text) for text in cells["label"]]
    if len(cells) == 2:
        pairs: list[tuple[int, str]] = []
        for number, (text, name) in enumerate(zip(*cells.values(), strict=True), start=1):
            if (label := read_label(text)) is None:
                raise DataError(
                    f"{file}, row {number}: label {text!r:.80}; allowed are whole numbers from 0"
                )
            pairs.append((label, name))
        return pairs
    ((part, named),) = cells.items()
    if part == "label" and all(text.isdecimal() for text in named):
        raise DataError(f"{file}: labels are numbers, so a column 'class_name' is needed as well")
    number_of = {text: number for number, text in enumerate(sorted(set(named)))}
    return [(number_of[text], text) for text in named]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
