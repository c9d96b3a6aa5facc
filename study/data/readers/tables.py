"""Your own images by a table beside them, with the path and the class of an image in each row."""

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.sources import FolderSource
from study.data.records import (
    SPLITS,
    Contents,
    DataFaults,
    Record,
    Splits,
    class_table,
    find_parts,
    listed,
    read_label,
    read_text,
    relative_path,
)
from study.data.splits import find_groups, fixed_split
from study.errors import DataError

# Part → column names that are recognized without the option `columns`; the first one is ours.
COLUMNS = {
    "path": ("path", "image_path", "filepath", "file_name", "filename", "file", "impath", "image"),
    "label": ("label", "labels", "target"),
    "class_name": ("class_name", "class name", "classname", "class"),
    "split": ("split",),
    "group": ("group",),
}
SPLIT_OF = {alias: split for split, aliases in SPLITS.items() for alias in aliases}
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
SEPARATORS = (",", ";", "\t")
"""The separators of cells in .csv files: spreadsheets write semicolons in some countries."""
LINKED = "images"
"""The folder beside a table that may be a symbolic link to its images."""
Cells = Sequence[object]
Columns = Mapping[str, Cells]
"""The cells of columns by a name."""


@dataclass(frozen=True)
class Table:
    """The cells of a table, without the rows that are blank."""

    name: str
    """Its name in messages."""
    folder: Path
    """The folder that paths are relative to."""
    columns: Columns
    """The cells of each column, by the column's name."""
    numbers: Sequence[int]
    """The number of each row, counted from 1 after the row of names; blank rows count as well."""
    blank: Sequence[int] = ()
    """The numbers of rows whose cells are all blank."""


@dataclass(frozen=True)
class _Row:
    """An image of a table."""

    number: int
    """The number of the row, as in `Table`."""
    path: str
    """The path relative to the table's folder; "" if it is faulty."""
    label: int
    class_name: str
    split: str
    """Our name for the split; "" if the row has none."""
    group: str


_RowFaults = dict[str, list[tuple[int, str]]]
"""The faults of a table's rows by kind, each with the number of its row and its words."""


def load_table(
    name: str, file: Path, *, columns: Mapping[str, str] | None = None, groups: str | None = None
) -> Contents:
    """Read a table with one image per row and paths relative to the table's folder.

    Without a `split` column the images are split by `fixed_split`. If that column has no test rows,
    the validation rows are the test split. Labels may be missing or be class names themselves; the
    names are then numbered in alphabetical order.

    Args:
        name: the dataset's name in results.
        file: the table, a .csv, .tsv or .parquet file.
        columns: "path", "label", "class_name", "split", "group" → column of the table, where the
            default names do not fit.
        groups: the pattern of the groups, see `study.data.splits.find_groups`; it replaces the
            column.

    Raises:
        DataError: if columns are missing or rows are malformed; the message names them.
    """
    table = _read_table(file)
    return table_contents(name, table, find_columns(table, columns or {}), groups)


def find_columns(table: Table, requested: Mapping[str, str]) -> dict[str, Cells]:
    """Return the cells of a table's columns, by our names for them; see `load_table`.

    Raises:
        DataError: the table has no rows, or columns are missing.
    """
    if not table.numbers and not table.blank:
        raise DataError(f"{table.name}: has no rows")
    names = find_parts("columns", list(table.columns), COLUMNS, requested, where=table.name)
    if "path" not in names or not ("label" in names or "class_name" in names):
        raise DataError(
            f"{table.name}: needs a column 'path' and a column 'label' or 'class_name' (or both); "
            f"got {listed(table.columns)}"
        )
    return {part: table.columns[column] for part, column in names.items()}


def table_contents(name: str, table: Table, parts: Columns, groups: str | None = None) -> Contents:
    """Return the classes and images of a table; see `load_table`.

    Args:
        name: the dataset's name in results.
        table: the table.
        parts: its columns, see `find_columns`.
        groups: the pattern of the groups.

    Raises:
        DataError: rows are malformed.
    """
    rows = _check_rows(table, parts)
    pairs = {(row.label, row.class_name) for row in rows}
    class_names = class_table(sorted(pairs), where=table.name)
    records: dict[str, list[Record]] = {"train": [], "val": [], "test": [], "": []}
    for row in rows:
        records[row.split].append(Record(row.path, row.label, row.group))
    train, val, test, unsplit = (
        find_groups(tuple(of_split), groups, where=table.name) for of_split in records.values()
    )
    splits = Splits(train, val, test)
    if unsplit:
        splits = fixed_split(unsplit, class_names, key=name)
    elif not test:
        splits = Splits(train, test=val)
    return class_names, splits, FolderSource(table.folder, anchors=(LINKED,))


def _check_rows(table: Table, parts: Columns) -> list[_Row]:
    """Return the rows of a table.

    Raises:
        DataFaults: rows are malformed; it has all their faults.
    """
    faults: _RowFaults = defaultdict(list)
    for number in table.blank:
        faults["blank"].append((number, "is blank; remove it"))
    pairs = _classes(table.numbers, parts, faults)
    paths = _paths(table, parts["path"], faults)
    blank = [""] * len(table.numbers)
    splits, groups = parts.get("split", blank), parts.get("group", blank)
    rows = []
    for number, path, (label, class_name), cell, group_cell in zip(
        table.numbers, paths, pairs, splits, groups, strict=True
    ):
        split, group = cell_text(cell).lower(), cell_text(group_cell)
        if split and split not in SPLIT_OF:
            faults["split"].append((number, f"split {cell!r}; allowed: {', '.join(SPLIT_OF)}"))
        if "group" in parts and not group:
            faults["group"].append((number, "has no group; allowed is a name of its own"))
        rows.append(_Row(number, path, label, class_name, SPLIT_OF.get(split, split), group))
    _add_repeated(rows, faults)
    sentences = _fault_sentences(table.name, faults)
    if "class_name" not in parts and rows and all(row.class_name.isdecimal() for row in rows):
        sentences.append(
            f"{table.name}: labels are numbers, so a column 'class_name' is needed as well"
        )
    unsplit = [row.number for row in rows if not row.split]
    if unsplit and len(unsplit) < len(rows):
        sentences.append(
            f"{table.name}: {len(unsplit)} rows have no split ({listed(unsplit)}); allowed: all or "
            "none"
        )
    if sentences:
        raise DataFaults(sentences)
    return rows


def _fault_sentences(table: str, faults: _RowFaults) -> list[str]:
    """Return a sentence for each kind of fault: the first in words, and the numbers of other rows.

    A whole column may be wrong in the same way, so a message describes each kind once.
    """
    sentences = []
    for (first, text), *more in faults.values():
        others = [row for row, _ in more]
        sentence = f"{table}, row {first}: {text}"
        if len(others) == 1:
            sentence += f"; row {others[0]} has this fault too"
        elif others:
            sentence += f"; rows {listed(others)} have this fault too"
        sentences.append(sentence)
    return sentences


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
    types = pa.types
    images = (types.is_struct, types.is_binary, types.is_large_binary, types.is_binary_view)
    return not any(is_image(kind) for kind in kinds for is_image in images)


def _read_table(file: Path) -> Table:
    """Read the cells of each column. CSV and TSV cells stay text: a class may be named "1"."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".parquet":
            columns = pq.read_table(file).to_pydict()
            names = list(columns)
            rows: list[Any] = list(zip(*columns.values(), strict=True))
        else:
            text = read_text(file)
            separator = "\t"
            if suffix != ".tsv":
                # A comma is preferred, as names of columns may contain the other separators.
                unquoted = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
                separator = ","
                if "," not in unquoted:
                    separator = max(SEPARATORS, key=unquoted.count)
            lines = io.StringIO(text)
            reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
            names = [name.strip() for name in next(reader, [])]
            rows = list(reader)
    # Damaged files raise many kinds of errors, such as that of times out of range.
    except (OSError, pa.ArrowException, csv.Error, ValueError, ArithmeticError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    return make_table(str(file), file.parent, names, rows)


def make_table(name: str, folder: Path, header: Sequence[str], rows: Sequence[Cells]) -> Table:
    """Return a table of columns from its rows, without the blank ones.

    Args:
        name: its name in messages.
        folder: the folder that paths are relative to.
        header: the names of the columns.
        rows: the cells of each row.

    Raises:
        DataError: two columns have one name, or a row has more or fewer cells than there are
            columns.
    """
    if len(set(header)) < len(header):
        raise DataError(f"{name}: two columns have one name; got {listed(header)}")
    cells_of: dict[str, list[object]] = {column: [] for column in header}
    numbers = []
    blank = []
    for number, row in enumerate(rows, start=1):
        if not row:  # an empty line, which spreadsheets and editors leave at the end
            continue
        if not any(cell_text(cell) for cell in row):
            blank.append(number)
            continue
        if len(row) != len(header):
            raise DataError(f"{name}, row {number}: other than {len(header)} fields")
        numbers.append(number)
        for column, cell in zip(header, row, strict=True):
            cells_of[column].append(cell)
    return Table(name, folder, cells_of, numbers, blank)


def cell_text(cell: object) -> str:
    """Return the text of a cell; a blank one, or a number that is missing, has none."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip()


def _classes(numbers: Sequence[int], parts: Columns, faults: _RowFaults) -> list[tuple[int, str]]:
    """Return the (label, class name) of every row; the label of a faulty row is -1."""
    # A data frame writes 3 as 3.0 if its column once had missing values.
    labels = [re.sub(r"^(\d+)\.0+$", r"\1", cell_text(cell)) for cell in parts.get("label", ())]
    names = [cell_text(cell) for cell in parts.get("class_name", ())]
    label_of = {}
    if labels and names:
        for text in labels:
            number_in_text = read_label(text)
            label_of[text] = -1 if number_in_text is None else number_in_text
    else:
        labels = names = labels or names
        for label, text in enumerate(sorted(set(labels))):
            label_of[text] = label
    pairs = []
    for number, text, name in zip(numbers, labels, names, strict=True):
        label = label_of[text]
        pairs.append((label, name))
        if not name:
            faults["class"].append((number, "has no class name"))
        elif "\0" in name:
            faults["zero"].append((number, f"class name {name!r:.80} has a zero byte in it"))
        elif label < 0:
            allowed = "allowed are whole numbers from 0"
            faults["label"].append((number, f"label {text!r:.80}; {allowed}"))
    return pairs


def _paths(table: Table, cells: Cells, faults: _RowFaults) -> list[str]:
    """Return the path of every row, relative to the table's folder; "" in a faulty row."""
    folder = table.folder.absolute()
    paths = []
    for number, cell in zip(table.numbers, cells, strict=True):
        text = str(cell or "")
        if Path(text).is_relative_to(folder):
            text = Path(text).relative_to(folder).as_posix()
        path = ""
        try:
            path = relative_path(text, where="")
        except DataError as error:
            faults["path"].append((number, str(error).removeprefix(": ")))
        paths.append(path)
    return paths


def _add_repeated(rows: Sequence[_Row], faults: _RowFaults) -> None:
    """Add a fault for each image that has several rows, and say in what two of them differ."""
    first_rows: dict[str, _Row] = {}
    for row in rows:
        before = first_rows.setdefault(row.path, row)
        if before is row or not row.path:  # an empty path is a fault already
            continue
        here, there = row.class_name, before.class_name
        if here == there:
            here, there = str(row.label), str(before.label)
        if here != there:
            text = f"has conflicting labels, {here!r} here and {there!r} in row {before.number}"
            kind, allowed = "conflict", "; allowed is one"
        elif row.split != before.split:
            here, there = row.split or "no split", before.split or "none"
            text = f"is in {here} here and in {there} in row {before.number}"
            kind, allowed = "splits", "; an image may be in one only"
        else:
            text = f"is listed twice, in row {before.number} too"
            kind, allowed = "twice", ""
        faults[kind].append((row.number, f"{row.path!r} {text}{allowed}"))
