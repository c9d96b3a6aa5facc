"""Hugging Face datasets with an image and a label column, from the hub or from local Parquet.

The images stay in the Arrow files of the `datasets` library's cache and are decoded on demand.
Records have virtual ids such as `train/000123`.
"""

import glob
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from study.backbones.hub import how_to_bring, silence_of_hub
from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import read_image
from study.data.outputs import is_output
from study.data.readers.own import visible
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

Renamed = Mapping[str, str]
"""Our name of a column or split → the dataset's name of it."""
PREFIX = "hf:"
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
        """Write all images and labels into a new folder, from which `load_parquet` reads them."""
        tables: Any = self.tables
        tables.save_to_disk(str(folder))

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        split = path.partition("/")[0]
        return f"{table_fingerprint(self.tables[split])} {self.reading.pixel_range}"


def load_hub(
    name: str,
    *,
    columns: Renamed | None = None,
    splits: Renamed | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Contents:
    """Read a dataset of the hub, of which only the splits in use are downloaded.

    Without a test split, the validation split is the test split. With a training split alone, the
    images are split by `fixed_split`.

    Args:
        name: the dataset's name, "hf:owner/name".
        columns: "image", "label" → column of the dataset, where the default names do not fit;
            "group" → the column of the groups, if it has one.
        splits: "train", "val", "test" → split of the dataset, where the default names do not fit.
        subset: the configuration of the dataset, if it has several.
        revision: the branch, tag or commit of the hub's repository.

    Raises:
        DataError: if the optional extra is not installed, the dataset cannot be read, or columns or
            splits are missing.
    """
    where = name.removeprefix(PREFIX)
    setting = "data.root=DIR with any name of your own, such as data.dataset=mine"
    bring = how_to_bring(f"{where} --repo-type dataset", revision, setting)
    with _library_errors(name, where, f". If the hub cannot be reached, bring it over: {bring}"):
        from huggingface_hub import HfApi  # which `datasets` brings

        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", where):
            raise DataError(f"{name}: not a dataset of the hub; allowed is {PREFIX}owner/name")
        if Path(where).exists():  # which the library would read instead
            raise DataError(f"{name}: {where} is a folder here, which is read by data.root={where}")
        # The library would try each file for long.
        fault = silence_of_hub(lambda: HfApi().dataset_info(where, revision=revision))
        if fault:
            raise DataError(
                f"{name} is on the hub, and {HfApi().endpoint} does not answer ({fault}). "
                f"Bring it over: {bring}"
            )
        tables = _built_tables(name, where, splits or {}, subset=subset, revision=revision)
    return _contents(name, tables, columns or {})


def load_parquet(
    name: str,
    place: Path,
    *,
    columns: Renamed | None = None,
    splits: Renamed | None = None,
    subset: str | None = None,
) -> Contents:
    """Read a Parquet file, a folder with the hub's layout, or one that `save_to_disk` wrote.

    Args:
        name: the dataset's name.
        place: the file or folder.
        columns: see `load_hub`.
        splits: see `load_hub`.
        subset: see `load_hub`.

    Raises:
        DataError: see `load_hub`.
    """
    splits = splits or {}
    with _library_errors(name, str(place)) as datasets:
        if is_saved(place):
            tables = _tables_of(name, datasets.load_from_disk(str(place)), splits)
        elif subset or _has_card(place):
            # By the folder's own name, the library might look for a script, or a kind of file.
            tables = _built_tables(name, f"{place.absolute()}/.", splits, subset=subset)
        else:
            files_of: dict[str, list[str]] = {}
            for file in [place] if place.is_file() else sorted(parquet_files(place)):
                split = _split_of(file.relative_to(place))
                files_of.setdefault(split, []).append(glob.escape(str(file)))
            tables = _load_files(name, "parquet", files_of, splits)
    return _contents(name, tables, columns or {})


@contextmanager
def _library_errors(name: str, where: str, advice: str = "") -> Iterator[Any]:
    """Yield the library `datasets`, and raise its errors as those of a dataset.

    Args:
        name: the dataset's name.
        where: the place that it is read from.
        advice: the end of a message.

    Raises:
        DataError: the library is not installed, or the block raised.
    """
    try:
        # Imported here because it is an optional extra, and takes a second to import.
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: Hugging Face datasets need the optional extra: "
            "pip install 'clipfit-study[hf]'"
        ) from error
    if not sys.stderr.isatty():  # in a log, a bar is one long line
        datasets.disable_progress_bars()
    faults = (OSError, ValueError, KeyError, TypeError, RuntimeError)
    try:
        yield datasets
    # Damaged files raise many kinds of errors, and a script a RuntimeError.
    except (*faults, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{name}: cannot be read from {where} ({error}){advice}") from error


def parquet_files(folder: Path, depth: int = 2) -> Iterator[Path]:
    """Yield the Parquet files of a folder that studies did not write.

    They may be as deep as the hub lays them out, in ``<subset>/<split>/``.

    Args:
        folder: the folder.
        depth: how many levels of folders are searched.
    """
    for entry in visible(folder):
        if entry.name.endswith(".parquet"):
            yield folder / entry.name
        elif depth and entry.is_dir(follow_symlinks=False):  # a link may lead up
            path = folder / entry.name
            if not is_output(path):
                yield from parquet_files(path, depth - 1)


def _has_card(folder: Path) -> bool:
    """Return whether a folder has a card of the hub, which may say what its files are."""
    card = folder / "README.md"
    return card.is_file() and card.read_bytes().startswith(b"---")


def _split_of(file: Path) -> str:
    """Return the split that the path of a Parquet file names, as on the hub; else ``train``."""
    words = re.split(r"[\W\d_]+", file.as_posix().lower())
    shard = re.match(r"(\w+)-\d{5}-of-\d{5}", file.name)
    known = [word for word in words if any(word in names for names in SPLITS.values())]
    return [*known, shard[1] if shard else "train"][0]


def _built_tables(
    name: str, where: str, splits: Renamed, *, subset: str | None, revision: str | None = None
) -> Any:
    """Return the tables of a dataset of the hub, or of a folder in its layout, by split."""
    import datasets

    # A builder knows the files of each split without downloading them.
    builder = datasets.load_dataset_builder(where, subset, revision=revision)
    files = {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}
    return _load_files(name, builder.name, files, splits, builder.info.features)


def _load_files(
    name: str,
    kind: str,
    files_of: Mapping[str, Sequence[str]],
    splits: Renamed,
    features: Any = None,
) -> Any:
    """Return the tables of the chosen splits; `load_dataset` by name would download all of them.

    Args:
        name: the dataset's name, for messages.
        kind: the format of the files.
        files_of: the patterns of the files of each split.
        splits: see `_chosen_splits`.
        features: the columns, if they are known.
    """
    import datasets

    return datasets.load_dataset(
        kind,
        data_files=_chosen_splits(name, files_of, splits),
        features=features,
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

    features = tables["train"].features
    image = _find_column(name, features, columns, "image", datasets.Image, ("image", "img"))
    names = ("label", "labels", "fine_label", "class")
    label = _find_column(name, features, columns, "label", datasets.ClassLabel, names)
    group = None
    if "group" in columns:
        group = _find_column(name, features, columns, "group", type(None), ())
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


def _find_column(
    name: str, features: Any, requested: Renamed, part: str, kind: type, aliases: Sequence[str]
) -> str:
    """Return the requested column of a part, the only one of its kind, or one of its known names.

    Raises:
        DataError: there is none, or a column of labels or groups holds something else.
    """
    import datasets

    candidates = [column for column, feature in features.items() if isinstance(feature, kind)]
    if len(candidates) != 1:
        candidates = [column for column in aliases if column in features]
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
            f"{name}: column {column!r} is of type {dtype}; allowed are class labels, whole "
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
                f"{name}: column {column!r} holds numbers without class names; allowed are class "
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
