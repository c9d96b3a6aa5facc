"""Tables of the library `datasets` with a column of images and one of labels, as a dataset.

The images stay in the Arrow files of the library's cache and are decoded on demand. Records have
virtual ids such as `train/000123`.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from PIL import Image

from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import read_image
from study.data.readers.tables import rows_contents, table_rows
from study.data.records import Contents, listed, match_names
from study.errors import DataError

COLUMNS = {
    "image": ("image", "img"),
    "label": ("label", "labels", "fine_label", "class"),
    "group": (),
}
"""The names that columns are known by, where none or several are of the kind of a part."""


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
            DataError: if the image is empty, or its file is outside the folders.
        """
        split, _, number = path.partition("/")
        cell = self.tables[split][int(number)][self.column] or {}
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

    Their rows are read like those of other tables, see `study.data.readers.tables.load_table`.

    Args:
        name: the dataset's name.
        tables: a `DatasetDict` of the library, by our names of the splits.
        columns: see `study.data.readers.huggingface.load_hub`.

    Raises:
        DataError: columns are missing or of a wrong type, or rows are malformed.
    """
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE  # which `datasets` brings

    features = tables["train"].features
    column_of = match_names("columns", [*features], _known_names(features), columns, where=name)
    for part in ("image", "label"):
        if part not in column_of:
            raise DataError(
                f"{name}: no {part} column; name it in columns.{part} or rename it; "
                f"the dataset has {listed(features)}"
            )
    kept = list(dict.fromkeys(column_of.values()))
    image = column_of.pop("image")
    frames = []
    try:
        # Reading a row decodes all its images: no others are kept, and this one stays encoded.
        tables = tables.select_columns(kept)
        tables = tables.cast_column(image, datasets.Image(decode=False))
        # Arrow's format decodes nothing, whatever the columns are.
        texts = tables.select_columns([*column_of.values()]).with_format("arrow")
        for split, table in texts.items():
            cells = table[:]
            frame = pd.DataFrame({part: cells[column] for part, column in column_of.items()})
            frame["path"] = [f"{split}/{row:06d}" for row in range(len(table))]
            frame["split"] = split if len(tables) > 1 else ""
            frames.append(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{name}: a split lacks one of the columns {listed(kept)}, or "
            f"column {image!r} holds no images ({error})"
        ) from error
    frame = pd.concat(frames)
    label = features[column_of["label"]]
    if isinstance(label, datasets.ClassLabel):
        frame["class_name"] = frame.label.map(dict(enumerate(label.names)))
    rows = table_rows(frame, {}, where=name)
    class_names, splits = rows_contents(name, rows.set_index("path", drop=False), where=name)
    settings = datasets.config
    # Each has a variable of the environment, so that it may be outside the first.
    paths = [settings.HF_CACHE_HOME, settings.HF_DATASETS_CACHE, settings.EXTRACTED_DATASETS_PATH]
    folders = tuple(map(Path, [*paths, HF_HUB_CACHE]))
    return class_names, splits, HubSource(name, image, tables, folders)


def _known_names(features: Any) -> dict[str, Sequence[str]]:
    """Return the names that columns may have: the only one of a part's type, or usual names."""
    import datasets

    names: dict[str, Sequence[str]] = dict(COLUMNS)
    for part, kind in (("image", datasets.Image), ("label", datasets.ClassLabel)):
        of_kind = [column for column, feature in features.items() if isinstance(feature, kind)]
        if len(of_kind) == 1:
            names[part] = of_kind
    return names
