"""`load_dataset`, the single entry point to every dataset."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from study.data.images.rgb import PixelRange
from study.data.images.sources import FolderSource, kind_fault
from study.data.prompts import templates_of
from study.data.readers.benchmarks import LAYOUTS, SHIFTS, download_note
from study.data.readers.coop import load_aircraft, load_coop
from study.data.readers.embedded import load_digits, load_glyphs
from study.data.readers.folders import is_folder, load_folder
from study.data.readers.huggingface import PREFIX, HubSource, load_hub
from study.data.readers.imagenet import load_imagenet, load_shift
from study.data.readers.tables import TABLE_SUFFIXES, is_path_table, load_table
from study.data.records import Dataset, ImageSource, Record, listed
from study.errors import DataError

__all__ = [
    "DATASET_NAMES",
    "Dataset",
    "ImageSource",
    "Record",
    "load_dataset",
    "refuse_unread_folder",
]

PACKAGED = {"digits": load_digits, "glyphs": load_glyphs}
ON_DISK = {
    "imagenet": load_imagenet,
    **dict.fromkeys(LAYOUTS, load_coop),
    "fgvc_aircraft": load_aircraft,
    **dict.fromkeys(SHIFTS, load_shift),
}
DATASET_NAMES: tuple[str, ...] = (*PACKAGED, *ON_DISK)


def load_dataset(
    name: str,
    root: Path | None = None,
    *,
    templates: Sequence[str] | None = None,
    require_images: bool = True,
    pixel_range: PixelRange | None = None,
    columns: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Dataset:
    """Read the classes and the labelled images of a dataset, but no pixels.

    Args:
        name: one of `DATASET_NAMES`; "hf:owner/name" for a dataset of the Hugging Face hub; any
            other name means your own dataset at `root`.
        root: the data root with the folders of the published datasets, or the dataset's own
            folder. For your own dataset: an image folder; a table (.csv, .tsv, .parquet) of paths,
            labels and class names; or Parquet files that hold the images. Packaged sets and the
            hub need no root.
        templates: prompt templates that replace the dataset's own; the first one is used in
            training.
        require_images: whether a missing image folder of a published dataset is an error.
        pixel_range: the values that become black and white in images deeper than 8 bits, see
            `study.data.images.rgb.to_rgb`; packaged images have 8 bits and take none.
        columns: part → column name in a table or hub dataset, where the default name does not fit.
        splits: "train", "val", "test" → split name in a hub dataset, where the default name does
            not fit.
        subset: the configuration of a hub dataset.
        revision: the branch, tag or commit of a hub dataset.

    Raises:
        DataError: if something is missing or invalid; the message names it, where it was looked
            for, and what is allowed.
    """
    hub = {"columns": columns, "splits": splits, "subset": subset, "revision": revision}
    dataset = _read(name, root, templates, require_images, hub)
    if pixel_range is None:
        return dataset
    source = dataset.source
    if not isinstance(source, FolderSource | HubSource):
        raise DataError(f"dataset {name!r} does not read pixel_range: its images have 8 bits")
    return replace(dataset, source=replace(source, pixel_range=pixel_range))


def _read(
    name: str,
    root: Path | None,
    templates: Sequence[str] | None,
    require_images: bool,
    hub: Mapping[str, Any],
) -> Dataset:
    if name in PACKAGED:
        _refuse_options(name, hub)
        return replace(PACKAGED[name](), templates=templates_of(name, templates))
    if name.startswith(PREFIX):
        return load_hub(name, templates=templates, **hub)
    if root is None:
        raise DataError(
            f"dataset {name!r} needs a folder{_hint(name)}; without one: {', '.join(PACKAGED)}"
        )
    try:
        root = Path(root).expanduser()
        there = root.exists()
        fault = kind_fault(root) if there and not root.is_dir() else None
    except (OSError, RuntimeError) as error:  # no permission, or ~name of an unknown user
        raise DataError(f"dataset {name!r}: cannot look at {root} ({error})") from error
    if not there:
        hint = f". {download_note(name, root)}" if name in ON_DISK else _hint(name)
        raise DataError(f"dataset {name!r}: no such file or folder: {root}{hint}")
    if fault:
        raise DataError(f"dataset {name!r}: {root}: {fault}")
    if name in ON_DISK:
        _refuse_options(name, hub)
        return ON_DISK[name](name, root, templates=templates, require_images=require_images)
    if root.suffix in TABLE_SUFFIXES and (root.suffix != ".parquet" or is_path_table(root)):
        _refuse_options(name, {**hub, "columns": None})
        return load_table(name, root, templates=templates, columns=hub["columns"])
    if root.suffix == ".parquet" or (root.is_dir() and _holds_parquet(root)):
        return load_hub(name, root, templates=templates, **hub)
    if root.is_file():
        raise DataError(f"{root}: not a dataset; allowed: a folder, {', '.join(TABLE_SUFFIXES)}")
    _refuse_options(name, hub)
    try:
        return load_folder(name, root, templates=templates)
    except DataError as error:
        raise DataError(f"{error}{_hint(name)}") from error


def refuse_unread_folder(folder: Path | None, names: Sequence[str], *, option: str) -> None:
    """Raise if the user gave a folder for datasets, none of which is read from a folder.

    Args:
        folder: the folder that the user gave, if any.
        names: the names of the datasets for which it was given.
        option: the option or argument by which the user names a dataset, for the message.

    Raises:
        DataError: the folder would not be read.
    """
    elsewhere = [name for name in names if name in PACKAGED or name.startswith(PREFIX)]
    if folder is not None and names and len(elsewhere) == len(names):
        raise DataError(
            f"the folder {str(folder)!r} is given, but {listed(names)} would be used, which is in "
            "the package or on the hub; allowed is the name of the dataset in that folder "
            f"({option}, any name for your own), or no folder"
        )


def _hint(name: str) -> str:
    """Return a hint with the known dataset that a mistyped name may mean, or an empty text."""
    near = get_close_matches(name, DATASET_NAMES, n=1)
    return f" (did you mean {near[0]!r}?)" if near and near[0] != name else ""


def _holds_parquet(folder: Path, *, depth: int = 2) -> bool:
    """Return whether a folder holds Parquet files, as deep as the hub lays them out.

    The hub uses `data/`, `<subset>/` and `<subset>/<split>/`. Only a few entries of each folder are
    read, since an image folder may have millions.
    """
    try:
        with os.scandir(folder) as entries:
            few = list(islice((e for e in entries if not e.name.startswith(".")), 32))
    except OSError:
        return False  # reported by name when its images are listed
    if any(entry.name.endswith(".parquet") for entry in few):
        return True
    below = [Path(entry.path) for entry in few if depth and is_folder(entry)]
    return any(_holds_parquet(place, depth=depth - 1) for place in below)


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise DataError if options are set, none of which the dataset's format reads."""
    if unread := [option for option, value in options.items() if value is not None]:
        raise DataError(f"dataset {name!r} does not read {', '.join(unread)}")
