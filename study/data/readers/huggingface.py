"""Hugging Face datasets with an image and a label column, from the hub or from local Parquet.

The images stay in the Arrow files of the `datasets` library's cache and are decoded on demand.
Records have virtual ids such as `train/000123`.
"""

import glob
import io
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from study.data.data_internals import table_fingerprint
from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import read_image
from study.data.outputs import is_output
from study.data.readers.own import is_folder, visible
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
CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
"""The files in which a dataset of the hub says what its files are."""
FIRST = 32
"""The number of entries of a folder that are searched for a Parquet file."""
KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The splits of the library `datasets`, and the words for each in names of files and folders."""


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
        return f"{table_fingerprint(self.tables[split])} {self.reading.identity}"


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
    download = _download_note(where, revision)
    with _library_errors(name, where, f". If the hub cannot be reached, bring it over: {download}"):
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", where):
            raise DataError(f"{name}: not a dataset of the hub; allowed is {PREFIX}owner/name")
        _refuse_silent_hub(where, revision, download)
        tables = _tables_of_builder(name, where, splits or {}, subset=subset, revision=revision)
    return _contents(name, tables, columns or {})


def load_parquet(
    name: str,
    place: Path,
    storage: Path | None = None,
    *,
    columns: Renamed | None = None,
    splits: Renamed | None = None,
    subset: str | None = None,
) -> Contents:
    """Read a Parquet file, or a folder of them; see `load_hub`.

    Args:
        name: the dataset's name.
        place: a Parquet file, a folder with the hub's layout, or one that `save_to_disk` wrote.
        storage: the folder of studies, whose Parquet files are of no dataset.
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
            where = f"{place.absolute()}/."
            tables = _tables_of_builder(name, where, splits, subset=subset)
        else:
            files = [place] if place.is_file() else sorted(_parquet_files(place, storage))
            tables = _load_files(name, "parquet", _files_of_splits(place, files), splits)
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


def holds_parquet(folder: Path, storage: Path | None = None) -> bool:
    """Return whether a folder holds Parquet files, as deep as the hub lays them out.

    Only a few entries of each folder are read, since an image folder may have millions.
    """
    return folder.is_dir() and any(_parquet_files(folder, storage, most=FIRST))


def _parquet_files(
    folder: Path, storage: Path | None, *, most: int | None = None, depth: int = 2
) -> Iterator[Path]:
    """Yield the Parquet files that a dataset has where the hub lays them out.

    The hub uses `data/`, `<subset>/` and `<subset>/<split>/`. Links to folders, which may lead up,
    and what studies wrote are passed over.

    Args:
        folder: the folder.
        storage: the folder of studies.
        most: how many entries of each folder are read; None means all.
        depth: how many levels of folders are searched.
    """
    try:
        entries = visible(folder, most)
    except DataError:
        return  # reported by name when its images are listed
    for entry in entries:
        if entry.name.endswith(".parquet"):
            yield folder / entry.name
    for entry in entries:
        inner = folder / entry.name
        if depth == 0 or not is_folder(entry) or entry.is_symlink():
            continue
        files = _parquet_files(inner, storage, most=most, depth=depth - 1)
        first = next(files, None)
        if first is not None and not is_output(inner, storage):
            yield first
            yield from files


def _files_of_splits(folder: Path, files: Sequence[Path]) -> dict[str, list[str]]:
    """Return the files of each split as the `datasets` library would, without its search.

    The library searches all folders below, tens of times, and takes those of studies as well. It
    looks for `data/SPLIT-00000-of-00001`, words in the names of folders, and words in those of
    files; where none has one, all files are for training.
    """

    def sharded(path: Path) -> str | None:
        match = re.fullmatch(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}\..*", path.as_posix())
        return match and match[1]

    def by_words(text: str) -> str | None:
        words = re.split(r"[-._ 0-9/]+", text)
        return next((split for split, known in KEYWORDS.items() if {*words} & {*known}), None)

    rules: tuple[Callable[[Path], str | None], ...] = (
        sharded,
        lambda path: by_words(path.parent.as_posix()),
        lambda path: by_words(path.name),
    )
    for rule in rules:
        files_of = defaultdict(list)
        for file in files:
            split = rule(file.relative_to(folder))
            if split:
                files_of[split].append(glob.escape(str(file)))
        if files_of:
            return files_of
    return {"train": [glob.escape(str(file)) for file in files]}


def _has_card(folder: Path) -> bool:
    """Return whether a folder has a file that says what its other files are."""
    readme, *others = (folder / name for name in CARDS)
    if any(file.is_file() for file in others):
        return True
    return readme.is_file() and readme.read_bytes()[:4].rstrip() == b"---"


def _tables_of_builder(
    name: str, where: str, splits: Renamed, *, subset: str | None, revision: str | None = None
) -> Any:
    """Return the tables of a dataset of the hub, or of a folder with its card, by split."""
    import datasets

    # A builder knows the files of each split without downloading them.
    builder = datasets.load_dataset_builder(where, subset, revision=revision)
    files_of = {
        str(split): list(files) for split, files in (builder.config.data_files or {}).items()
    }
    return _load_files(name, builder.name, files_of, splits, builder.info.features)


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
