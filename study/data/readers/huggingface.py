"""Hugging Face datasets with an image and a label column, from the hub or from local Parquet.

The images stay in the Arrow files of the `datasets` library's cache and are decoded on demand.
Records have virtual ids such as `train/000123`.
"""

import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from study.data.images.rgb import PixelRange
from study.data.images.sources import read_image
from study.data.internals import table_fingerprint
from study.data.prompts import templates_of
from study.data.readers.folders import SPLITS
from study.data.records import Dataset, Record, class_table, fixed_split, listed
from study.errors import DataError

logger = logging.getLogger(__name__)

PREFIX = "hf:"


@dataclass(frozen=True)
class HubSource:
    """The images in the tables of the `datasets` library."""

    name: str
    """The dataset's name, for messages."""
    column: str
    """The name of the column that holds the images."""
    tables: Mapping[str, Any] = field(repr=False)
    """The table of each split."""
    folder: Path
    """The folder where the library keeps extracted files; no file outside it is opened."""
    pixel_range: PixelRange | None = None
    """The values that become black and white in deep images; see `to_rgb`."""

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        return read_image(
            self.encoded(path), path=f"{self.name} {path}", pixel_range=self.pixel_range
        )

    def encoded(self, path: str) -> io.BytesIO | Path:
        """Return the encoded bytes of an image, or the file that holds them.

        Raises:
            DataError: if there is no such image, it is empty, or its file is outside the folder.
        """
        split, _, number = path.partition("/")
        table = self.tables.get(split)
        if table is None or not number.isdecimal() or int(number) >= len(table):
            raise DataError(f"{path}: dataset {self.name} has no such image")
        cell = table[int(number)][self.column]
        if not cell or not (cell.get("bytes") or cell.get("path")):
            raise DataError(f"{path}: the image of {self.name} is empty")
        if cell.get("bytes"):
            return io.BytesIO(cell["bytes"])
        file = Path(cell["path"]).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise DataError(f"{path}: {self.name} points to {file}, outside {self.folder}")
        return file

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        return f"{table_fingerprint(self.tables[path.partition('/')[0]])} {self.pixel_range}"


def load_hub(
    name: str,
    place: Path | None = None,
    *,
    templates: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Dataset:
    """Read a dataset of the hub (`hf:owner/name`), a Parquet file, or a folder of Parquet files.

    Without a test split, the validation split is the test split. With a training split alone, the
    images are split by `fixed_split`. Only the splits in use are downloaded.

    Args:
        name: the dataset's name; "hf:owner/name" on the hub.
        place: a Parquet file, or a folder with the hub's layout; None means the hub.
        templates: prompt templates that replace the default one.
        columns: "image", "label" → column of the dataset, where the default names do not fit.
        splits: "train", "val", "test" → split of the dataset, where the default names do not fit.
        subset: the configuration of the dataset, if it has several.
        revision: the branch, tag or commit of the hub's repository.

    Raises:
        DataError: if the optional extra is not installed, the dataset cannot be read, or columns or
            splits are missing.
    """
    try:
        # Imported here because it is an optional extra, and takes a second to import.
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: Hugging Face datasets need the optional extra: "
            "pip install 'clipfit-study[hf]'"
        ) from error
    where = str(place) if place else name.removeprefix(PREFIX)
    if place is None and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", where):
        raise DataError(f"{name}: not a dataset of the hub; allowed is {PREFIX}owner/name")
    try:
        # A builder knows the files of each split without downloading them.
        if place is not None and place.is_file():
            builder = datasets.load_dataset_builder("parquet", data_files={"train": [str(place)]})
        else:
            revision = None if place else revision
            builder = datasets.load_dataset_builder(where, subset, revision=revision)
        chosen = _choose_splits(name, list(builder.config.data_files or {}), splits or {})
        # Only the chosen splits: `load_dataset` by name would download all of them.
        files = {ours: list(builder.config.data_files[theirs]) for ours, theirs in chosen.items()}
        tables = datasets.load_dataset(
            builder.name,
            data_files=files,
            features=builder.info.features,
            verification_mode="no_checks",
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{name}: cannot be read from {where} ({error})") from error
    image, label = _column_names(datasets, name, tables["train"].features, columns or {})
    # Keep the images encoded: reading the labels must not decode them.
    tables = {s: tables[s].cast_column(image, datasets.Image(decode=False)) for s in chosen}
    class_names, labels = _classes(datasets, name, tables, label)
    records = {
        split: tuple(Record(f"{split}/{row:06d}", own) for row, own in enumerate(labels[split]))
        for split in tables
    }
    train, val, test = (records.get(split, ()) for split in ("train", "val", "test"))
    if not test and val:
        logger.info("%s: no test split; its validation split is the test split", name)
        val, test = (), val
    elif not test:
        train, val, test = fixed_split(train, class_names, key=name)
    return Dataset(
        name=name,
        class_names=class_names,
        templates=templates_of(name, templates),
        train=train,
        val=val,
        test=test,
        source=HubSource(name, image, tables, Path(datasets.config.HF_CACHE_HOME)),
    )


def _choose_splits(name: str, present: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Return the dataset's split for each of our splits that it has.

    Raises:
        DataError: if a requested split or the training split is missing.
    """
    strange = [part for part in asked if part not in SPLITS]
    absent = [split for split in asked.values() if split not in present]
    if strange or absent:
        raise DataError(
            f"{name}: splits {listed(strange + absent)} are not there; ours are "
            f"{', '.join(SPLITS)}, the dataset has {listed(present) or 'none'}"
        )
    chosen = dict(asked) or {
        split: next(alias for alias in aliases if alias in present)
        for split, aliases in SPLITS.items()
        if any(alias in present for alias in aliases)
    }
    if "train" not in chosen:
        raise DataError(f"{name}: no training split; the dataset has {listed(present) or 'none'}")
    return chosen


def _column_names(
    datasets: Any, name: str, features: Any, asked: Mapping[str, str]
) -> tuple[str, str]:
    """Return the names of the image column and the label column."""

    def column_of(part: str, kind: type, aliases: Sequence[str]) -> str:
        of_kind = [column for column, feature in features.items() if isinstance(feature, kind)]
        named = [column for column in aliases if column in features]
        column = asked.get(part) or next(iter(of_kind if len(of_kind) == 1 else named), "")
        if column not in features:
            raise DataError(
                f"{name}: no {part} column {column!r}; name it in columns.{part}; "
                f"the dataset has {listed(features)}"
            )
        return column

    return (
        column_of("image", datasets.Image, ("image", "img")),
        column_of("label", datasets.ClassLabel, ("label", "labels", "fine_label", "class")),
    )


def _classes(
    datasets: Any, name: str, tables: Mapping[str, Any], column: str
) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Return the class names and the labels of every split, without opening an image."""
    values = {s: list(t.select_columns([column])[column]) for s, t in tables.items()}
    feature = tables["train"].features[column]
    if isinstance(feature, datasets.ClassLabel):
        class_names = class_table(enumerate(feature.names), where=name)
        labels = {
            split: [v if isinstance(v, int) else -1 for v in cells]
            for split, cells in values.items()
        }
    else:
        texts = {str(v) for v in values["train"] if v is not None}
        if all(text.isdecimal() for text in texts):
            for beside in ("class_name", "class name", "classname", "label_name", "label_text"):
                if beside in tables["train"].features and beside != column:
                    return _classes(datasets, name, tables, beside)
            raise DataError(
                f"{name}: column {column!r} holds numbers without class names; allowed are class "
                "labels and text"
            )
        class_names = class_table(enumerate(sorted(texts)), where=name)
        number_of = {text: number for number, text in enumerate(class_names)}
        labels = {split: [number_of.get(str(v), -1) for v in values[split]] for split in values}
    for split, column_labels in labels.items():
        if bad := [row for row, own in enumerate(column_labels) if not 0 <= own < len(class_names)]:
            raise DataError(
                f"{name}: {len(bad)} images of {split} have no label of the training split (rows "
                f"{listed(bad)}); a hidden test split cannot be scored: choose others in splits"
            )
    return class_names, labels
