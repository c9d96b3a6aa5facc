"""Hugging Face datasets with an image and a label column, from the hub or from local Parquet.

The images stay in the Arrow files of the `datasets` library's cache and are decoded on demand.
Records have virtual ids such as `train/000123`.
"""

import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import read_image
from study.data.records import (
    SPLITS,
    ClassNames,
    Contents,
    Record,
    Records,
    Splits,
    class_table,
    find_parts,
    listed,
)
from study.data.splits import fixed_split
from study.errors import DataError
from study.storage.time_limit import call_within, cause_of_silence

Renamed = Mapping[str, str]
"""Our name of a column or split → the dataset's name of it."""
PREFIX = "hf:"
NAME_COLUMNS = ("class_name", "class name", "classname", "label_name", "label_text")
"""The columns whose texts are class names where labels are numbers."""
PLAIN = r"null|bool|u?int\d+|(large_)?string|string_view"
"""The types of the cells of labels and groups."""
ANSWERS_WITHIN = 4.0
"""How many seconds the hub may take to answer."""


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
        """Write all images and labels into a new folder, from which `load_hub` reads them."""
        tables: Any = self.tables
        tables.save_to_disk(str(folder))

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        split = path.partition("/")[0]
        return f"{table_fingerprint(self.tables[split])} {self.reading.identity}"


def load_hub(
    name: str,
    place: Path | None = None,
    *,
    columns: Renamed | None = None,
    splits: Renamed | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Contents:
    """Read a dataset of the hub (`hf:owner/name`), a Parquet file, or a folder of Parquet files.

    Without a test split, the validation split is the test split. With a training split alone, the
    images are split by `fixed_split`. Only the splits in use are downloaded.

    Args:
        name: the dataset's name; "hf:owner/name" on the hub.
        place: a Parquet file, a folder with the hub's layout, or one that `save_to_disk` wrote;
            None means the hub.
        columns: "image", "label" → column of the dataset, where the default names do not fit;
            "group" → the column of the groups, if it has one.
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
    where = str(place or name.removeprefix(PREFIX))
    download = _download_note(where, revision)
    if place is None:
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", where):
            raise DataError(f"{name}: not a dataset of the hub; allowed is {PREFIX}owner/name")
        _refuse_silent_hub(where, revision, download)
    if not sys.stderr.isatty():  # in a log, a bar is one long line
        datasets.disable_progress_bars()
    splits = splits or {}
    try:
        if place is not None and is_saved(place):
            tables = _tables_of(name, datasets.load_from_disk(where), splits)
        else:
            # A builder knows the files of each split without downloading them.
            if place is None:
                builder = datasets.load_dataset_builder(where, subset, revision=revision)
            elif place.is_file():
                builder = datasets.load_dataset_builder("parquet", data_files={"train": [where]})
            else:
                builder = datasets.load_dataset_builder(where, subset)
            tables = _load_files(name, builder, splits)
    # Damaged files raise many kinds of errors.
    except (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError) as error:
        advice = ""
        if place is None:
            advice = f". If the hub cannot be reached, bring it over: {download}"
        raise DataError(f"{name}: cannot be read from {where} ({error}){advice}") from error
    return _contents(name, tables, columns or {})


def _download_note(name: str, revision: str | None) -> str:
    """Return how to bring a dataset of the hub to a machine without network."""
    option = ""
    if revision:
        option = f" --revision {revision}"
    return (
        f"on a machine with network `hf download {name} --repo-type dataset{option} "
        "--local-dir DIR`, then copy DIR here and set data.root=DIR with any name of your own, "
        "such as data.dataset=mine"
    )


def _load_files(name: str, builder: Any, splits: Renamed) -> Any:
    """Return the tables of the files that a builder knows, by split."""
    import datasets

    files_of = {
        str(split): list(files) for split, files in (builder.config.data_files or {}).items()
    }
    # Only the chosen splits: `load_dataset` by name would download all of them.
    return datasets.load_dataset(
        builder.name,
        data_files=_chosen_splits(name, files_of, splits),
        features=builder.info.features,
        verification_mode="no_checks",
    )


def _chosen_splits(name: str, present: Mapping[str, Any], splits: Renamed) -> dict[str, Any]:
    """Return what a dataset has for each split that is read.

    Args:
        name: the dataset's name, for messages.
        present: the dataset's name of a split → its files or its table.
        splits: our name of a split → the dataset's name of it; if empty, all that are recognized
            are read.

    Raises:
        DataError: a split does not exist, or there is no training split.
    """
    parts = find_parts("splits", list(present), SPLITS, splits, where=name)
    splits_to_read = splits or parts
    if "train" not in splits_to_read:
        raise DataError(f"{name}: no training split; the dataset has {listed(present) or 'none'}")
    return {split: present[parts[split]] for split in splits_to_read}


def _refuse_silent_hub(name: str, revision: str | None, download: str) -> None:
    """Raise if the hub does not answer.

    Args:
        name: the dataset's name on the hub.
        revision: branch, tag or commit.
        download: how to bring the dataset over.

    Raises:
        DataError: it does not; the `datasets` library would try each file for long.
    """
    from huggingface_hub import HfApi  # which `datasets` brings
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        call_within(ANSWERS_WITHIN, lambda: HfApi().dataset_info(name, revision=revision))
    except (HfHubHTTPError, HFValidationError):
        return  # it answers; an error in the answer is reported once the dataset is read
    except Exception as error:  # its library for HTTP has been another one before
        raise DataError(
            f"{PREFIX}{name} is on the hub, and {HfApi().endpoint} does not answer "
            f"({cause_of_silence(error)}). Bring it over: {download}"
        ) from error


def is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` of a dataset, or of a dictionary of them, wrote a folder."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def loaded_contents(name: str, loaded: object) -> Contents:
    """Read a `Dataset` or a `DatasetDict` that the library `datasets` has loaded; see `load_hub`.

    Raises:
        DataError: it is something else, or columns or splits are missing.
    """
    import datasets

    if not isinstance(loaded, datasets.Dataset | datasets.DatasetDict):
        raise DataError(
            f"{name}: got {type(loaded).__name__}; allowed are a Dataset and a DatasetDict of the "
            "library datasets"
        )
    return _contents(name, _tables_of(name, loaded, {}), {})


def _tables_of(name: str, loaded: Any, splits: Renamed) -> Any:
    """Return the tables of a dataset, by split; one alone is ``train``."""
    import datasets

    if not isinstance(loaded, Mapping):
        loaded = {"train": loaded}
    return datasets.DatasetDict(_chosen_splits(name, loaded, splits))


def _contents(name: str, tables: Any, columns: Renamed) -> Contents:
    """Return the classes and records of the tables of splits, without decoding an image."""
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE  # which `datasets` brings

    image, label, group = _column_names(name, tables["train"].features, columns)
    named = _find_names(name, tables["train"], label)
    # Reading a row decodes all its images: no others are kept, and this one stays encoded.
    kept = dict.fromkeys([image, label, named, *([group] if group else [])])
    for split, table in tables.items():
        absent = [column for column in kept if column not in table.column_names]
        if absent:
            raise DataError(f"{name}: {split} has no column {listed(absent)}, which train has")
    tables = tables.select_columns([*kept])
    try:
        if getattr(tables["train"].features[image], "dtype", None) == "binary_view":
            tables = tables.cast_column(image, datasets.Value("binary"))
        tables = tables.cast_column(image, datasets.Image(decode=False))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{name}: column {image!r} holds no images ({error})") from error
    class_names, records = _classes(name, tables, named)
    if group is not None:
        for split, of_split in records.items():
            cells = list(tables[split][group])
            blank = [row for row, cell in enumerate(cells) if cell is None or str(cell) == ""]
            if blank:
                raise DataError(
                    f"{name}: column {group!r} is empty in {len(blank)} rows of {split}, first in "
                    f"row {blank[0]}; allowed is a group of its own for each image"
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


def _column_names(name: str, features: Any, requested: Renamed) -> tuple[str, str, str | None]:
    """Return the names of the columns of images, of labels and, if requested, of groups."""
    import datasets

    def column_of(part: str, kind: type, aliases: Sequence[str]) -> str:
        candidates = [column for column, feature in features.items() if isinstance(feature, kind)]
        if len(candidates) != 1:
            candidates = [column for column in aliases if column in features]
        candidates.append("")
        column = requested.get(part) or candidates[0]
        if column not in features:
            raise DataError(
                f"{name}: no {part} column {column!r}; name it in columns.{part} or rename it; "
                f"the dataset has {listed(features)}"
            )
        return column

    image = column_of("image", datasets.Image, ("image", "img"))
    label = column_of("label", datasets.ClassLabel, ("label", "labels", "fine_label", "class"))
    _refuse_kind(name, "label", label, features[label])
    group = None
    if "group" in requested:
        group = column_of("group", type(None), ())
        _refuse_kind(name, "group", group, features[group])
    return image, label, group


def _refuse_kind(name: str, part: str, column: str, feature: Any) -> None:
    """Raise DataError unless a column holds class labels, whole numbers or text."""
    import datasets

    kind = getattr(feature, "dtype", type(feature).__name__)
    if not isinstance(feature, datasets.ClassLabel) and not re.fullmatch(PLAIN, kind):
        raise DataError(
            f"{name}: column {column!r} is of type {kind}; allowed are class labels, whole numbers "
            f"and text; name another in columns.{part}"
        )


def _find_names(name: str, table: Any, label: str) -> str:
    """Return the column of the classes: that of the labels, or of names where these are numbers.

    Raises:
        DataError: the labels are numbers, and there are no names.
    """
    import datasets

    for column in (label, *NAME_COLUMNS):
        feature = table.features.get(column)
        if isinstance(feature, datasets.ClassLabel):
            return column
        if feature is not None and re.fullmatch(PLAIN, str(getattr(feature, "dtype", ""))):
            values = set(table.select_columns([column])[column]) - {None}
            if not all(str(value).isdecimal() for value in values):
                return column
    raise DataError(
        f"{name}: column {label!r} holds numbers without class names; allowed are class labels and "
        "text"
    )


def _classes(
    name: str, tables: Mapping[str, Any], column: str
) -> tuple[ClassNames, dict[str, Records]]:
    """Return the class names and the records of every split, without opening an image.

    Raises:
        DataError: there are labels that the training split has not.
    """
    import datasets

    values = {split: list(table[column]) for split, table in tables.items()}
    features = tables["train"].features
    if isinstance(features[column], datasets.ClassLabel):
        class_names = class_table(enumerate(features[column].names), where=name)
        label_of = {str(label): label for label in range(len(class_names))}
    else:
        texts = {str(value) for value in values["train"] if value is not None}
        class_names = class_table(enumerate(sorted(texts)), where=name)
        label_of = {text: label for label, text in enumerate(class_names)}
    records = {}
    for split, cells in values.items():
        texts_of_rows = list(map(str, cells))
        unknown = [row for row, text in enumerate(texts_of_rows) if text not in label_of]
        if unknown:
            raise DataError(
                f"{name}: {len(unknown)} images of {split} have no label of the training split "
                f"(rows {listed(unknown)}); a hidden test split cannot be scored: choose others in "
                "splits"
            )
        records[split] = tuple(
            Record(f"{split}/{row:06d}", label_of[text]) for row, text in enumerate(texts_of_rows)
        )
    return class_names, records
