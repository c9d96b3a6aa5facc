"""Hugging Face datasets from the hub, from local Parquet, and as `save_to_disk` wrote them.

The images stay in the Arrow files of the library's cache and are decoded on demand. Records have
virtual ids such as `train/000123`.
"""

import glob
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from study.backbones.hub import download_hint, hub_fault
from study.data.images.sources import HubSource
from study.data.output_folders import is_output_folder
from study.data.readers.folders import visible
from study.data.readers.tables import rows_contents, table_rows
from study.data.records import SPLITS, Contents, listed, match_names
from study.errors import DataError

Renamed = Mapping[str, str]
"""Our name of a column or split → the dataset's name of it."""
PREFIX = "hf:"
COLUMNS = {
    "image": ("image", "img"),
    "label": ("label", "labels", "fine_label", "class"),
    "group": (),
}
"""The names that columns are known by, where none or several are of the kind of a part."""


def load_hub(
    name: str,
    *,
    columns: Renamed | None = None,
    splits: Renamed | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Contents:
    """Read a dataset of the hub, of which only the splits in use are downloaded.

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
    bring = download_hint(f"{where} --repo-type dataset", revision, setting)
    with _library_errors(name, where, f". Without access to the hub, copy the dataset: {bring}"):
        from huggingface_hub import HfApi  # which `datasets` brings

        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", where):
            raise DataError(f"{name}: not a dataset of the hub; expected {PREFIX}owner/name")
        if Path(where).exists():  # which the library would read instead
            raise DataError(f"{name}: {where} is a folder here, which is read by data.root={where}")
        # The library would try each file for long.
        fault = hub_fault(lambda: HfApi().dataset_info(where, revision=revision))
        if fault:
            raise DataError(
                f"{name} is on the hub, and {HfApi().endpoint} does not answer ({fault}). "
                f"Copy the dataset: {bring}"
            )
        tables = _built_tables(name, where, splits or {}, subset=subset, revision=revision)
    return _read_tables(name, tables, columns or {})


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
    return _read_tables(name, tables, columns or {})


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
            if not is_output_folder(path):
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
    parts = match_names("splits", list(present), SPLITS, splits, where=name)
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
            f"{name}: got {type(loaded).__name__}; expected a Dataset or a DatasetDict of the "
            "library datasets"
        )
    return _read_tables(name, _tables_of(name, loaded, {}), {})


def _tables_of(name: str, loaded: Any, splits: Renamed) -> Any:
    """Return the tables of a dataset, by split; one alone is ``train``."""
    import datasets

    if not isinstance(loaded, Mapping):
        loaded = {"train": loaded}
    return datasets.DatasetDict(_chosen_splits(name, loaded, splits))


def _read_tables(name: str, tables: Any, columns: Mapping[str, str]) -> Contents:
    """Return the classes and images of the tables of splits, without decoding an image.

    Their rows are read like those of other tables, see `study.data.readers.tables.load_table`.

    Args:
        name: the dataset's name.
        tables: a `DatasetDict` of the library, by our names of the splits.
        columns: see `load_hub`.

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
