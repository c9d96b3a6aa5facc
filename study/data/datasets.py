"""`load_dataset`, the single entry point to every dataset."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.data.images.image_reading import DEFAULT_READING, ImageReading
from study.data.images.sources import FolderSource, HubSource
from study.data.prompts import templates_of
from study.data.readers.benchmarks import BENCHMARKS, download_note
from study.data.readers.folders import load_folder
from study.data.readers.glyphs import load_digits, load_glyphs
from study.data.readers.huggingface import (
    PREFIX,
    is_saved,
    load_hub,
    load_parquet,
    parquet_files,
)
from study.data.readers.published import load_published
from study.data.readers.tables import load_table
from study.data.records import Contents, Dataset, listed
from study.data.splits import refuse_shared_groups
from study.errors import DataError, did_you_mean

PACKAGED = {"digits": load_digits, "glyphs": load_glyphs}
DATASET_NAMES = (*PACKAGED, *BENCHMARKS)
READER_OPTIONS = ("columns", "splits", "subset", "revision", "groups")
"""The options of all readers, by the names of the keys that set them."""
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def is_own_dataset(name: str) -> bool:
    """Return whether a name is that of a dataset of the user's own."""
    return name not in DATASET_NAMES and not name.startswith(PREFIX)


def load_dataset(
    name: str,
    root: Path | None = None,
    *,
    templates: Sequence[str] | None = None,
    reading: ImageReading = DEFAULT_READING,
    **options: Any,
) -> Dataset:
    """Read the classes and the labelled images of a dataset, but no pixels.

    Args:
        name: one of `DATASET_NAMES`; "hf:owner/name" for a dataset of the Hugging Face hub; any
            other name means your own dataset at `root`.
        root: the data root with the folders of the published datasets, or the dataset's own
            folder. For your own dataset: an image folder; a table (.csv, .tsv, .parquet) of paths,
            labels and class names; Parquet files that hold the images; or a folder that
            `save_to_disk` of the library `datasets` wrote. Packaged sets and the hub need no root.
        templates: prompt templates that replace the dataset's own; the first one is used in
            training.
        reading: how the images are read; packaged images have 8 bits, and take the default only.
        **options: some of `READER_OPTIONS`, see `load_hub`, `load_table` and `load_folder`; None
            means the default.

    Raises:
        DataError: if something is missing or invalid; the message names it, where it was looked
            for, and what is allowed.
    """
    chosen = {option: value for option, value in options.items() if value is not None}
    read = _find_reader(name, root)
    unread = [option for option in chosen if option not in signature(read).parameters]
    if unread:
        raise DataError(f"dataset {name!r} does not read {', '.join(unread)}")
    class_names, splits, source = read(**chosen)
    refuse_shared_groups(splits, where=name)
    if isinstance(source, FolderSource | HubSource):
        source = replace(source, reading=reading)
    elif reading.pixel_range is not None:
        raise DataError(f"dataset {name!r} does not read pixel_range: its images have 8 bits")
    return Dataset(name, class_names, templates_of(name, templates), *splits, source)


def _find_reader(name: str, root: Path | None) -> Callable[..., Contents]:
    """Return the function that reads a dataset; its parameters are the options that it reads."""
    if name in PACKAGED:
        return PACKAGED[name]
    if name.startswith(PREFIX):
        return partial(load_hub, name)
    if root is None:
        raise DataError(
            f"dataset {name!r} needs a folder{_hint(name)}; without one: {', '.join(PACKAGED)}"
        )
    root = _check_root(name, root)
    if name in BENCHMARKS:
        return partial(load_published, name, root)
    suffix = root.suffix.lower()
    if suffix in TABLE_SUFFIXES and (suffix != ".parquet" or _is_path_table(root)):
        return partial(load_table, name, root)
    if suffix == ".parquet" or is_saved(root) or (root.is_dir() and any(parquet_files(root))):
        return partial(load_parquet, name, root)
    if root.is_file():
        raise DataError(f"{root}: not a dataset; expected a folder, {', '.join(TABLE_SUFFIXES)}")
    return partial(load_folder, name, root)


def _check_root(name: str, root: Path) -> Path:
    """Return the path of a dataset with "~" expanded.

    Raises:
        DataError: there is neither a folder nor a file, or it cannot be looked at.
    """
    try:
        root = Path(root).expanduser()
        exists = root.is_file() or root.is_dir()
    except (OSError, RuntimeError) as error:  # no permission, or ~name of an unknown user
        raise DataError(f"dataset {name!r}: cannot read {root} ({error})") from error
    if not exists:
        hint = f". {download_note(name, root)}" if name in BENCHMARKS else _hint(name)
        raise DataError(f"dataset {name!r}: no file or folder there: {root}{hint}")
    return root


def _is_path_table(file: Path) -> bool:
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


def refuse_unread_folder(folder: Path | None, names: Sequence[str], *, option: str) -> None:
    """Raise if the user gave a folder for datasets, none of which is read from a folder.

    Args:
        folder: the folder that the user gave, if any.
        names: the names of the datasets for which it was given.
        option: the option or argument by which the user names a dataset, for the message.

    Raises:
        DataError: the folder would not be read.
    """
    read = [name for name in names if name not in PACKAGED and not name.startswith(PREFIX)]
    if folder is None or not names or read:
        return
    raise DataError(
        f"{listed(names)} is in the package or on the hub, and doesn't read the folder "
        f"{str(folder)!r}; to read images from that folder, add {option} (or any other name), "
        "otherwise give no folder"
    )


def _hint(name: str) -> str:
    """Return a hint with the known dataset that a mistyped name may mean, or an empty text."""
    if name in DATASET_NAMES:
        return ""
    return did_you_mean(name, DATASET_NAMES)
