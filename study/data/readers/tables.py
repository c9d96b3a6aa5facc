"""Tables of (path, label, class name): CSV, TSV or Parquet beside the images."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.sources import FolderSource
from study.data.records import (
    SPLITS,
    Contents,
    Record,
    check_splits,
    class_table,
    find_parts,
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

Table = Mapping[str, Sequence[object]]
"""Column → its cells."""


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
    table = _read_parquet(file) if file.suffix == ".parquet" else _read_text(file)
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
    paths = table[names["path"]]
    splits = table[names["split"]] if "split" in names else [None] * len(paths)
    records: dict[str, list[Record]] = {split: [] for split in (*SPLITS, "")}
    for number, (cell, split, (label, _)) in enumerate(
        zip(paths, splits, pairs, strict=True), start=1
    ):
        where = f"{file}, row {number}"
        path = Path(text := str(cell or ""))
        if path.is_relative_to(file.parent.absolute()):
            text = path.relative_to(file.parent.absolute()).as_posix()
        record = Record(relative_path(text, where=where), label)
        if (lowered := str(split or "").strip().lower()) and lowered not in SPLIT_OF:
            raise DataError(f"{where}: split {split!r}; allowed: {', '.join(SPLIT_OF)}")
        records[SPLIT_OF.get(lowered, "")].append(record)
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
        types = [column.type for column in pq.read_schema(file)]
    # A column name that is not UTF-8 raises ValueError.
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({error})") from error
    return not any(pa.types.is_struct(kind) or pa.types.is_binary(kind) for kind in types)


def _read_text(file: Path) -> Table:
    """Read CSV or TSV; all values stay text, so that a class may be named "1"."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            head = lines.readline()
            lines.seek(0)
            # In some countries spreadsheets write CSV with semicolons.
            separator = ";" if ";" in head and "," not in head else ","
            reader = csv.reader(
                lines,
                delimiter="\t" if file.suffix == ".tsv" else separator,
                strict=True,
                skipinitialspace=True,
            )
            names = [name.strip() for name in next(reader, [])]
            rows = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    if len(set(names)) < len(names):
        raise DataError(f"{file}: two columns have one name; got {listed(names)}")
    if odd := [number for number, row in enumerate(rows, start=1) if len(row) != len(names)]:
        raise DataError(f"{file}, row {odd[0]}: other than {len(names)} fields")
    return dict(zip(names, zip(*rows, strict=True), strict=False))


def _read_parquet(file: Path) -> Table:
    try:
        return dict(pq.read_table(file).to_pydict())
    # Damaged files raise many kinds of errors: text that is not UTF-8, or times out of range.
    except (OSError, pa.ArrowException, ValueError, ArithmeticError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _classes(file: Path, table: Table) -> list[tuple[int, str]]:
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
