"""Hugging Face datasets with an image and a label column: from the hub, or local Parquet.

The images stay inside Arrow files that the `datasets` library keeps in its cache. Records have
virtual ids such as `train/000123`, decoded on demand.
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
from study.data.prompts import templates_of
from study.data.readers.folders import SPLITS
from study.data.records import Dataset, Record, class_table, fixed_split, listed
from study.errors import DataError

logger = logging.getLogger(__name__)

PREFIX = "hf:"
_COLUMNS = {"image": ("image", "img"), "label": ("label", "labels", "fine_label", "class")}
# Where names are found if the labels are bare numbers.
_NAMES = ("class_name", "class name", "classname", "label_name", "label_text")
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


@dataclass(frozen=True)
class HubSource:
    """Images inside the tables of the `datasets` library.

    Attributes:
        name: of the dataset, for messages.
        column: that holds the images.
        tables: split → table.
        folder: where the library keeps extracted files; no other file is opened.
        pixel_range: see `to_rgb`.
    """

    name: str
    column: str
    tables: Mapping[str, Any] = field(repr=False)
    folder: Path
    pixel_range: PixelRange | None = None

    def open(self, path: str) -> Image.Image:
        """Open one image as RGB."""
        encoded = self.encoded(path)
        return read_image(encoded, path=f"{self.name} {path}", pixel_range=self.pixel_range)

    def encoded(self, path: str) -> io.BytesIO | Path:
        """Give what an image is decoded from.

        Raises:
            DataError: if there is no such image, it is empty, or it points elsewhere.
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
        """Give the library's hash of a table's content and history, and how it is read."""
        return f"{self.tables[path.partition('/')[0]]._fingerprint} {self.pixel_range}"


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
    """Read a dataset of the hub (`hf:owner/name`), or a Parquet file or folder of them.

    Without a test split the validation split is the test split, and with a training split alone
    the images are split by `fixed_split`. Only the splits in use are fetched.

    Args:
        name: of the dataset; "hf:owner/name" for the hub.
        place: a Parquet file, or a folder as the hub lays it out; None for the hub.
        templates: replace the default template.
        columns: "image", "label" → column of the dataset, where it is another.
        splits: "train", "val", "test" → split of the dataset, where it is another.
        subset: configuration of the dataset, where it has several.
        revision: branch, tag or commit of the hub's repository.

    Raises:
        DataError: if the optional extra is not installed, the dataset cannot be had, or its columns
            or splits do not serve.
    """
    try:
        # An optional extra, and it takes a second to import.
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: Hugging Face datasets need the optional extra: "
            "pip install 'clipfit-study[hf]'"
        ) from error
    where = str(place) if place else name.removeprefix(PREFIX)
    if place is None and not _REPOSITORY.fullmatch(where):
        raise DataError(f"{name}: not a dataset of the hub; allowed is {PREFIX}owner/name")
    try:
        builder = _builder(datasets, where, place, subset, revision)
        chosen = _chosen(name, list(builder.config.data_files or {}), splits or {})
        tables = _tables(datasets, builder, chosen)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{name}: cannot be read from {where} ({error})") from error
    image, label = _column_names(datasets, name, tables["train"].features, columns or {})
    # Whole bytes rather than decoded images: reading the labels must not open a picture.
    tables = {s: t.cast_column(image, datasets.Image(decode=False)) for s, t in tables.items()}
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


def _builder(
    datasets: Any, where: str, place: Path | None, subset: str | None, revision: str | None
) -> Any:
    """Learn which files make up which split, without fetching them."""
    if place is not None and place.is_file():
        return datasets.load_dataset_builder("parquet", data_files={"train": [str(place)]})
    return datasets.load_dataset_builder(where, subset, revision=None if place else revision)


def _tables(datasets: Any, builder: Any, chosen: Mapping[str, str]) -> dict[str, Any]:
    """Fetch the chosen splits alone: asked by its name, a dataset would fetch all of them."""
    files = {ours: list(builder.config.data_files[theirs]) for ours, theirs in chosen.items()}
    loaded = datasets.load_dataset(
        builder.name,
        data_files=files,
        features=builder.info.features,
        verification_mode="no_checks",
    )
    return {split: loaded[split] for split in chosen}


def _chosen(name: str, present: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Choose the dataset's splits for ours."""
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
    """Find the image column and the label column."""
    images = [c for c, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [c for c, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    fallback = {"image": images, "label": labels}
    found: dict[str, str] = {}
    for part, aliases in _COLUMNS.items():
        named = [column for column in aliases if column in features]
        single = fallback[part] if len(fallback[part]) == 1 else []
        column = asked.get(part) or next(iter(single + named), "")
        if column not in features:
            raise DataError(
                f"{name}: no {part} column {column!r}; name it in columns.{part}; "
                f"the dataset has {listed(features)}"
            )
        found[part] = column
    return found["image"], found["label"]


def _classes(
    datasets: Any, name: str, tables: Mapping[str, Any], column: str
) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Read class names and the labels of every split; no image is opened."""
    values = {s: list(t.select_columns([column])[column]) for s, t in tables.items()}
    feature = tables["train"].features[column]
    if isinstance(feature, datasets.ClassLabel):
        class_names = class_table(enumerate(feature.names), where=name)
        labels = {split: [_label(v) for v in cells] for split, cells in values.items()}
    else:
        texts = {str(v) for v in values["train"] if v is not None}
        beside = next((c for c in _NAMES if c in tables["train"].features and c != column), None)
        if all(text.isdecimal() for text in texts) and beside:
            return _classes(datasets, name, tables, beside)
        if all(text.isdecimal() for text in texts):
            raise DataError(
                f"{name}: column {column!r} holds numbers without class names; allowed are class "
                "labels and text"
            )
        class_names = class_table(enumerate(sorted(texts)), where=name)
        number_of = {text: number for number, text in enumerate(class_names)}
        labels = {split: [number_of.get(str(v), -1) for v in values[split]] for split in values}
    for split, column_labels in labels.items():
        bad = [row for row, own in enumerate(column_labels) if not 0 <= own < len(class_names)]
        if bad:
            raise DataError(
                f"{name}: {len(bad)} images of {split} have no label of the training split (rows "
                f"{listed(bad)}); a hidden test split cannot be scored: choose others in splits"
            )
    return class_names, labels


def _label(value: object) -> int:
    return value if isinstance(value, int) else -1
