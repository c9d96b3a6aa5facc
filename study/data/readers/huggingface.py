"""Hugging Face datasets with an image and a label column, from the hub or from local Parquet.

The images stay in the Arrow files of the `datasets` library's cache and are decoded on demand.
Records have virtual ids such as `train/000123`.
"""

import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from study.data.data_internals import table_fingerprint
from study.data.images.rgb import PixelRange
from study.data.images.sources import read_image
from study.data.records import (
    SPLITS,
    Contents,
    Record,
    Records,
    class_table,
    find_parts,
    fixed_split,
    listed,
)
from study.errors import DataError
from study.storage.within import call_within, why_silent

PREFIX = "hf:"
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
            DataError: if there is no such image, it is empty, or its file is outside the folders.
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
        if not any(file.is_relative_to(folder.resolve()) for folder in self.folders):
            kept = listed(str(folder) for folder in self.folders)
            raise DataError(f"{path}: {self.name} points to {file}, outside {kept}")
        return file

    def stamp(self, path: str) -> str:
        """Return the `datasets` library's hash of the image's table, and how it is read."""
        return f"{table_fingerprint(self.tables[path.partition('/')[0]])} {self.pixel_range}"


def load_hub(
    name: str,
    place: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
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
    at = f" --revision {revision}" if revision else ""
    over = (
        f"on a machine with network `hf download {where} --repo-type dataset{at} --local-dir DIR`, "
        "then copy DIR here and set data.root=DIR with any name of your own, such as "
        "data.dataset=mine"
    )
    if place is None:
        _refuse_silent_hub(where, revision, over)
    if not sys.stderr.isatty():  # in a log, a bar is one long line
        datasets.disable_progress_bars()
    if place is not None and is_saved(place):
        tables = _load_saved(datasets, name, place, splits or {})
        return _contents(datasets, name, tables, columns or {})
    try:
        # A builder knows the files of each split without downloading them.
        if place is not None and place.is_file():
            builder = datasets.load_dataset_builder("parquet", data_files={"train": [str(place)]})
        else:
            builder = datasets.load_dataset_builder(
                where, subset, revision=None if place else revision
            )
        present = {str(s): list(files) for s, files in (builder.config.data_files or {}).items()}
        parts = find_parts("splits", list(present), SPLITS, splits or {}, where=name)
        if "train" not in (splits or parts):
            raise DataError(
                f"{name}: no training split; the dataset has {listed(present) or 'none'}"
            )
        # Only the chosen splits: `load_dataset` by name would download all of them.
        tables = datasets.load_dataset(
            builder.name,
            data_files={split: present[parts[split]] for split in splits or parts},
            features=builder.info.features,
            verification_mode="no_checks",
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        rest = "" if place else f". If the hub cannot be reached, bring it over: {over}"
        raise DataError(f"{name}: cannot be read from {where} ({error}){rest}") from error
    return _contents(datasets, name, tables, columns or {})


def _refuse_silent_hub(name: str, revision: str | None, over: str) -> None:
    """Raise if the hub does not answer.

    Args:
        name: the dataset's name on the hub.
        revision: branch, tag or commit.
        over: how to bring the dataset over.

    Raises:
        DataError: it does not; the `datasets` library would try each file for long.
    """
    from huggingface_hub import HfApi  # which `datasets` brings
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        call_within(ANSWERS_WITHIN, lambda: HfApi().dataset_info(name, revision=revision))
    except (HfHubHTTPError, HFValidationError):
        return  # it answers, and with what is told once the dataset is read
    except Exception as error:  # its library for HTTP has been another one before
        raise DataError(
            f"{PREFIX}{name} is on the hub, and {HfApi().endpoint} does not answer "
            f"({why_silent(error)}). Bring it over: {over}"
        ) from error


def is_saved(folder: Path) -> bool:
    """Return whether `save_to_disk` of a dataset, or of a dictionary of them, wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("state.json", "dataset_info.json")
    )


def _load_saved(datasets: Any, name: str, folder: Path, splits: Mapping[str, str]) -> Any:
    """Return the tables of a folder that `save_to_disk` wrote, by split; one alone is ``train``."""
    try:
        saved = datasets.load_from_disk(str(folder))
    # Damaged files raise many kinds of errors.
    except (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{name}: cannot be read from {folder} ({error})") from error
    present = saved if isinstance(saved, Mapping) else {"train": saved}
    parts = find_parts("splits", list(present), SPLITS, splits, where=name)
    if "train" not in (splits or parts):
        raise DataError(f"{name}: no training split; the dataset has {listed(present) or 'none'}")
    return datasets.DatasetDict({split: present[parts[split]] for split in splits or parts})


def _contents(datasets: Any, name: str, tables: Any, columns: Mapping[str, str]) -> Contents:
    """Return the classes and records of the tables of splits, without decoding an image."""
    from huggingface_hub.constants import HF_HUB_CACHE  # which `datasets` brings

    image, label = _column_names(datasets, name, tables["train"].features, columns)
    # Keep the images encoded: reading the labels must not decode them.
    tables = tables.cast_column(image, datasets.Image(decode=False))
    class_names, records = _classes(datasets, name, tables, label)
    train, val, test = (records.get(split, ()) for split in SPLITS)
    if not test:
        val, test = (), val
    if not test:
        train, val, test = fixed_split(train, class_names, key=name)
    own = datasets.config
    # Each has a variable of the environment, so that it may be outside the first.
    kept = (own.HF_CACHE_HOME, own.HF_DATASETS_CACHE, own.EXTRACTED_DATASETS_PATH, HF_HUB_CACHE)
    source = HubSource(name, image, tables, tuple(Path(folder) for folder in kept))
    return class_names, train, val, test, source


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
) -> tuple[tuple[str, ...], dict[str, Records]]:
    """Return the class names and the records of every split, without opening an image."""
    values = {s: list(t.select_columns([column])[column]) for s, t in tables.items()}
    features = tables["train"].features
    if isinstance(features[column], datasets.ClassLabel):
        class_names = class_table(enumerate(features[column].names), where=name)
        label_of = {str(label): label for label in range(len(class_names))}
    else:
        texts = {str(value) for value in values["train"] if value is not None}
        if all(text.isdecimal() for text in texts):
            for beside in ("class_name", "class name", "classname", "label_name", "label_text"):
                if beside in features and beside != column:
                    return _classes(datasets, name, tables, beside)
            raise DataError(
                f"{name}: column {column!r} holds numbers without class names; allowed are class "
                "labels and text"
            )
        class_names = class_table(enumerate(sorted(texts)), where=name)
        label_of = {text: label for label, text in enumerate(class_names)}
    for split, cells in values.items():
        if bad := [row for row, value in enumerate(cells) if str(value) not in label_of]:
            raise DataError(
                f"{name}: {len(bad)} images of {split} have no label of the training split (rows "
                f"{listed(bad)}); a hidden test split cannot be scored: choose others in splits"
            )
    return class_names, {
        split: tuple(Record(f"{split}/{n:06d}", label_of[str(v)]) for n, v in enumerate(cells))
        for split, cells in values.items()
    }
