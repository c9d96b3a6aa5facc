"""Tables of the library `datasets` with a column of images and one of labels, as a dataset.

The images stay in the Arrow files of the library's cache and are decoded on demand. Records have
virtual ids such as `train/000123`.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import read_image
from study.data.records import ClassNames, Contents, Record, Records, Splits, class_table, listed
from study.data.splits import fixed_split
from study.errors import DataError

COLUMNS = {
    "image": ("image", "img"),
    "label": ("label", "labels", "fine_label", "class"),
    "group": (),
}
"""The names that columns are known by, where none or several are of the kind of a part."""
NUMBERS_AND_TEXTS = r"null|bool|u?int\d+|(large_)?string|string_view"
"""The types of the cells of labels and groups."""


@dataclass(frozen=True)
class HubSource:
    """The images in the tables of the `datasets` library."""

    name: str
    """The dataset's name, for messages."""
    column: str
    """The name of the column that holds the images."""
    tables: Mapping[str, Any] = field(repr=False)
    """The table of each split."""
    folders: tuple[Path, ...]
    """The folders where the library keeps files; no file outside them is opened."""
    reading: ImageReading = DEFAULT_READING
    """How the images are read."""

    def open_image(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        return read_image(self.encoded(path), path=f"{self.name} {path}", reading=self.reading)

    def encoded(self, path: str) -> io.BytesIO | Path:
        """Return the encoded bytes of an image, or the file that holds them.

        Raises:
            DataError: if there is no such image, it is empty, or its file is outside the folders.
        """
        split, _, number = path.partition("/")
        table = self.tables.get(split)
        if table is None or not number.isdecimal() or int(number) >= len(table):
            raise DataError(f"{path}: dataset {self.name} has no such image")
        cell = table[int(number)][self.column] or {}
        contents = cell.get("bytes")
        if contents:
            return io.BytesIO(contents)
        link = cell.get("path")
        if not link:
            raise DataError(f"{path}: the image of {self.name} is empty")
        file = Path(link).resolve()
        if not any(file.is_relative_to(folder.resolve()) for folder in self.folders):
            folders = listed(str(folder) for folder in self.folders)
            raise DataError(f"{path}: {self.name} points to {file}, outside {folders}")
        return file

    def save(self, folder: Path) -> None:
        """Write all images and labels into a new folder, from which `data.root` reads them."""
        tables: Any = self.tables
        tables.save_to_disk(str(folder))

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        split = path.partition("/")[0]
        return f"{table_fingerprint(self.tables[split])} {self.reading.pixel_range}"


def read_tables(name: str, tables: Any, columns: Mapping[str, str]) -> Contents:
    """Return the classes and images of the tables of splits, without decoding an image.

    Without a test split, the validation split is the test split. With a training split alone, the
    images are split by `fixed_split`.

    Args:
        name: the dataset's name.
        tables: a `DatasetDict` of the library, by our names of the splits.
        columns: see `study.data.readers.huggingface.load_hub`.

    Raises:
        DataError: columns are missing or of a wrong type, or labels are not those of the training
            split.
    """
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE  # which `datasets` brings

    features = tables["train"].features
    image = _find_column(name, features, columns, "image")
    label = _find_column(name, features, columns, "label")
    group = _find_column(name, features, columns, "group") if "group" in columns else None
    # Reading a row decodes all its images: no others are kept, and this one stays encoded.
    kept = [column for column in dict.fromkeys((image, label, group)) if column]
    try:
        tables = tables.select_columns(kept)
        tables = tables.cast_column(image, datasets.Image(decode=False))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{name}: a split lacks one of the columns {listed(kept)}, or column {image!r} holds "
            f"no images ({error})"
        ) from error
    class_names, records = _classes(name, tables, label)
    if group is not None:
        for split, of_split in records.items():
            cells = list(tables[split][group])
            blank = [row for row, cell in enumerate(cells) if cell is None or str(cell) == ""]
            if blank:
                raise DataError(
                    f"{name}: column {group!r} is empty in {len(blank)} rows of {split}, first in "
                    f"row {blank[0]}; expected a group of its own for each image"
                )
            pairs = zip(of_split, cells, strict=True)
            records[split] = tuple(replace(record, group=str(cell)) for record, cell in pairs)
    splits = Splits(**records)
    if not splits.test:
        splits = Splits(splits.train, test=splits.val)
    if not splits.test:
        splits = fixed_split(splits.train, class_names, key=name)
    settings = datasets.config
    # Each has a variable of the environment, so that it may be outside the first.
    paths = [settings.HF_CACHE_HOME, settings.HF_DATASETS_CACHE, settings.EXTRACTED_DATASETS_PATH]
    folders = tuple(map(Path, [*paths, HF_HUB_CACHE]))
    return class_names, splits, HubSource(name, image, tables, folders)


def _find_column(name: str, features: Any, requested: Mapping[str, str], part: str) -> str:
    """Return the requested column of a part, the only one of its kind, or one of its known names.

    Raises:
        DataError: there is none, or a column of labels or groups holds something else.
    """
    import datasets

    kind = {"image": datasets.Image, "label": datasets.ClassLabel}.get(part, ())
    candidates = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(candidates) != 1:
        candidates = [column for column in COLUMNS[part] if column in features]
    column = requested.get(part) or next(iter(candidates), "")
    if column not in features:
        raise DataError(
            f"{name}: no {part} column {column!r}; name it in columns.{part} or rename it; "
            f"the dataset has {listed(features)}"
        )
    dtype = getattr(features[column], "dtype", type(features[column]).__name__)
    is_class = isinstance(features[column], datasets.ClassLabel)
    if part != "image" and not is_class and not re.fullmatch(NUMBERS_AND_TEXTS, dtype):
        raise DataError(
            f"{name}: column {column!r} is of type {dtype}; expected class labels, whole "
            f"numbers and text; name another in columns.{part}"
        )
    return column


def _classes(
    name: str, tables: Mapping[str, Any], column: str
) -> tuple[ClassNames, dict[str, Records]]:
    """Return the class names and the records of every split, without opening an image.

    Raises:
        DataError: labels are numbers without names, or are not those of the training split.
    """
    import datasets

    texts = {split: list(map(str, table[column])) for split, table in tables.items()}
    feature = tables["train"].features[column]
    if isinstance(feature, datasets.ClassLabel):
        class_names = class_table(enumerate(feature.names), where=name)
        label_of = {str(label): label for label in range(len(class_names))}
    else:
        trained = sorted(set(texts["train"]) - {"None"})
        if all(text.isdecimal() for text in trained):
            raise DataError(
                f"{name}: column {column!r} holds numbers without class names; expected class "
                "labels and text; name another in columns.label"
            )
        class_names = class_table(enumerate(trained), where=name)
        label_of = {text: label for label, text in enumerate(class_names)}
    records = {}
    for split, of_rows in texts.items():
        unknown = [row for row, text in enumerate(of_rows) if text not in label_of]
        if unknown:
            raise DataError(
                f"{name}: {len(unknown)} images of {split} have no label of the training split "
                f"(rows {listed(unknown)}); a hidden test split cannot be scored: choose others in "
                "splits"
            )
        records[split] = tuple(
            Record(f"{split}/{row:06d}", label_of[text]) for row, text in enumerate(of_rows)
        )
    return class_names, records
