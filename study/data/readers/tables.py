"""Your own images by a table with the path and the class of an image in each row."""

import io
import re
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.sources import FolderSource
from study.data.records import (
    SPLITS,
    ClassNames,
    Contents,
    DataFaults,
    Record,
    Splits,
    class_table,
    listed,
    listed_texts,
    match_names,
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
SPLIT_OF = {alias: split for split, aliases in SPLITS.items() for alias in aliases} | {"": ""}
"""Our name of a split by each of its names; a row without a split has none."""
SEPARATORS = ",;\t"
"""The separators of cells in .csv files: spreadsheets write semicolons in some countries."""


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
    rows = table_rows(_read_frame(file), columns or {}, where=str(file))
    class_names, splits = rows_contents(name, rows, file.parent, where=str(file), groups=groups)
    return class_names, splits, FolderSource(file.parent)


def _read_frame(file: Path) -> pd.DataFrame:
    """Read a table. CSV and TSV cells stay text: a class may be named "1"."""
    try:
        if file.suffix.lower() == ".parquet":
            # As objects, since texts that are not UTF-8 are an error only then.
            return pq.read_table(file).to_pandas(ignore_metadata=True).astype(object)
        text = read_text(file)
        separator = "\t"
        if file.suffix.lower() != ".tsv":
            separator = max(SEPARATORS, key=text.partition("\n")[0].count)
        # With a header of its own, pandas renames columns and takes more cells for an index.
        rows = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
        )
    # Damaged files raise many kinds of errors, such as that of times out of range.
    except (OSError, pa.ArrowException, ValueError, ArithmeticError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    return rows[1:].set_axis([str(name).strip() for name in rows.iloc[0]], axis=1)


def table_rows(frame: pd.DataFrame, columns: Mapping[str, str], *, where: str) -> pd.DataFrame:
    """Return the texts of a table's columns, by our names for them; see `load_table`.

    Rows are numbered from 1, and blank ones are left out. Missing values are empty texts.

    Args:
        frame: the table.
        columns: our name of a column → its name in the table.
        where: the table, for messages.

    Raises:
        DataError: the table has no rows, two columns have one name, columns are missing, or cells
            hold something else than texts and numbers.
    """
    present = list(map(str, frame.columns))
    if len(set(present)) < len(present):
        raise DataError(f"{where}: two columns have one name; got {listed(present)}")
    names = match_names("columns", present, COLUMNS, columns, where=where)
    if "path" not in names or not ("label" in names or "class_name" in names):
        raise DataError(
            f"{where}: needs a column 'path' and a column 'label' or 'class_name' (or both); "
            f"got {listed(present)}"
        )
    texts = {}
    for part, column in names.items():
        cells = frame.iloc[:, present.index(column)]
        nested = [cell for cell in cells if isinstance(cell, Sized) and not isinstance(cell, str)]
        if nested:
            raise DataError(
                f"{where}: column {column!r} holds {nested[0]!r:.80}; expected texts and numbers; "
                f"name another in columns.{part}"
            )
        texts[part] = cells.astype(object).where(cells.notna(), "").map(str).to_numpy(object)
    numbers = [f"row {number}" for number in range(1, len(frame) + 1)]
    rows = pd.DataFrame(texts, index=numbers).apply(lambda cells: cells.str.strip())
    rows = rows[(rows != "").any(axis=1)]
    if rows.empty:
        raise DataError(f"{where}: has no rows")
    return rows


def rows_contents(
    name: str,
    rows: pd.DataFrame,
    folder: Path | None = None,
    *,
    where: str,
    groups: str | None = None,
) -> tuple[ClassNames, Splits]:
    """Return the classes and images of a table; see `load_table`.

    Args:
        name: the dataset's name in results.
        rows: the texts of the table, see `table_rows`; the index has the place of a row, for
            messages.
        folder: the folder that absolute paths may lead into; None means that none is allowed.
        where: the table, for messages.
        groups: the pattern of the groups.

    Raises:
        DataError: rows are malformed.
    """
    texts, rows = rows, _parsed(rows, folder)
    faults = [f"{where}, {fault}" for fault in _faults(texts, rows)]
    if faults:
        raise DataFaults(faults)
    class_names = class_table(sorted({*zip(rows.label, rows.class_name, strict=True)}), where=where)
    records: dict[str, list[Record]] = {"train": [], "val": [], "test": [], "": []}
    for row in rows.itertuples():
        records[SPLIT_OF[row.split]].append(Record(row.path, row.label, row.group))
    train, val, test, unsplit = (
        find_groups(tuple(of_split), groups, where=where) for of_split in records.values()
    )
    splits = Splits(train, val, test)
    if unsplit:
        splits = fixed_split(unsplit, class_names, key=name)
    elif not test:
        splits = Splits(train, test=val)
    return class_names, splits


def _parsed(texts: pd.DataFrame, folder: Path | None) -> pd.DataFrame:
    """Return a table with all columns, relative paths, and labels as numbers from 0.

    A faulty path is empty, and a faulty label -1.
    """
    # A data frame writes 3 as 3.0 if its column once had missing values.
    labels = [re.sub(r"^(\d+)\.0+$", r"\1", text) for text in texts.get("label", ())]
    names = list(texts.get("class_name", labels))
    numbers: dict[str, int | None]
    if "class_name" in texts and labels:
        numbers = {text: read_label(text) for text in set(labels)}
    else:
        labels = names
        numbers = {text: number for number, text in enumerate(sorted(set(names)))}
    root = f"{folder.absolute()}/" if folder else ""
    return pd.DataFrame(
        {
            "path": [_relative(text, root) for text in texts.path],
            "label": [-1 if numbers[text] is None else numbers[text] for text in labels],
            "class_name": names,
            "split": texts["split"].str.lower() if "split" in texts else "",
            "group": texts.get("group", ""),
        },
        index=texts.index,
    )


def _relative(text: str, root: str) -> str:
    """Return a path of a table, relative to the table's folder; "" if it leaves that folder."""
    try:
        return relative_path(text.removeprefix(root), where="")
    except DataError:
        return ""


def _faults(texts: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Yield the faults of a table's rows: each kind once, with its first row and that one's text.

    Args:
        texts: the table as it is given.
        rows: what `_parsed` makes of it.
    """
    zero = rows.class_name.str.contains("\0", regex=False)
    unsplit = (rows.split == "") & (rows.split != "").any()
    repeated = rows.duplicated("path") & (rows.path != "")
    checks = [
        (rows.path == "", "path", "is not inside the dataset's folder or has '..'"),
        (rows.class_name == "", "class_name", "is empty"),
        (zero, "class_name", "has a zero byte"),
        (rows.label < 0, "label", "is not a whole number from 0"),
        (~rows.split.isin([*SPLIT_OF]), "split", f"is none of {', '.join(filter(None, SPLIT_OF))}"),
        (unsplit, "split", "is empty, and others are not; expected all or none"),
        (repeated, "path", "is in an earlier row as well; expected one row for an image"),
    ]
    if "class_name" not in texts and rows.class_name.str.isdecimal().all():
        checks.append(
            (rows.label >= 0, "label", "is a number, and there is no column 'class_name'")
        )
    if "group" in texts:
        checks.append((rows.group == "", "group", "is empty; expected a name of its own"))
    for wrong, column, fault in checks:
        places = list(rows.index[wrong])
        if places:
            first, *others = places
            text = (texts if column in texts else rows)[column][first]
            more = f"; the same in {listed_texts(others)}" if others else ""
            yield f"{first}: {column} {text!r:.200} {fault}{more}"
