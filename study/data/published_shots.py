"""Few-shot splits that others published, matched to the images of a dataset."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.data.records import (
    Dataset,
    Record,
    Records,
    Splits,
    listed,
    read_json,
    read_label,
)
from study.data.shots import Shots, make_shots
from study.data.splits import refuse_shared_groups
from study.errors import DataError

logger = logging.getLogger(__name__)

_Rows = tuple[str, list[Any]]
"""A place, for messages, and the rows that stand there."""


def read_published_shots(path: Path, dataset: Dataset, *, shots: int, seed: int) -> Shots:
    """Read a few-shot split that others published, for comparisons on the same images.

    Two forms are known: `shot_{n}-seed_{s}_{train,val}.jsonl` with one
    `{"impath", "label", "classname"}` per line, and `shot_{n}-seed_{s}.json` with the same records
    in `train.data` and `val.data`. Their paths may be relative to a data root or absolute on
    another machine, so they are matched to the dataset's paths by their last parts. Fewer images of
    a class than `shots` are only warned about.

    Args:
        path: the folder with the files, or a folder above it.
        dataset: the dataset that the images belong to.
        shots: the number of training images per class.
        seed: the seed of the published draw.

    Raises:
        DataError: if the dataset does not have an image, an image is in the test split, a label or
            class name differs, or a class has more images than shots; the message names them.
    """
    (where, train_rows), (val_where, val_rows) = _published_rows(path, dataset, shots, seed)
    train = _match_records(train_rows, dataset, where=where)
    val = _match_records(val_rows, dataset, where=val_where)
    shared = sorted(record.path for record in set(train) & set(val))
    if shared:
        raise DataError(f"{where}: in both train and val: {listed(shared)}")
    if not train:
        raise DataError(f"{where}: has no training images")
    refuse_shared_groups(Splits(train, val), where=where)
    available = Counter(record.label for record in dataset.train)
    too_many = []
    too_few = []
    for label, count in Counter(record.label for record in train).items():
        class_and_count = f"{dataset.class_names[label]} ({count})"
        if count > shots:
            too_many.append(class_and_count)
        elif count < min(shots, available[label]):
            too_few.append(class_and_count)
    if too_many:
        raise DataError(f"{where}: more than {shots} images of {listed(too_many)}")
    if too_few:
        logger.warning(
            "%s: fewer than %d images of %s: is it whole?", where, shots, listed(too_few)
        )
    return make_shots(dataset.name, shots, seed, train, val)


def _published_rows(path: Path, dataset: Dataset, shots: int, seed: int) -> list[_Rows]:
    """Return the rows of train and of val, each with the place where they stand.

    Raises:
        DataError: there are none, or they are not whole.
    """
    stem = f"shot_{shots}-seed_{seed}"
    folders = _shot_folders(path, dataset)
    for folder in folders:
        train = folder / f"{stem}_train.jsonl"
        val = folder / f"{stem}_val.jsonl"
        if train.is_file():
            train_rows = read_json(train, by_line=True)
            val_rows = []
            if val.exists():
                val_rows = read_json(val, by_line=True)
            return [(f"{train}, train", train_rows), (f"{val}, val", val_rows)]
        whole = folder / f"{stem}.json"
        if whole.is_file():
            match read_json(whole):
                case {"train": {"data": [*train_rows]}, "val": {"data": [*val_rows]}}:
                    return [(f"{whole}, train", train_rows), (f"{whole}, val", val_rows)]
            raise DataError(f"{whole}: needs the lists train.data and val.data")
    for folder in folders:
        pickled = folder / f"{stem}.pkl"
        if pickled.exists():
            raise DataError(
                f"{pickled}: a pickle can run any code and is never read; expected "
                f"{stem}_train.jsonl with {stem}_val.jsonl, and {stem}.json"
            )
    raise DataError(
        f"{stem}_train.jsonl or {stem}.json is missing; looked in {listed(map(str, folders))}"
    )


def _shot_folders(path: Path, dataset: Dataset) -> list[Path]:
    """Return the folders where splits of a dataset may lie, given a folder above them."""
    # Splits may also lie in the dataset's own folder, whose name can differ from the dataset's.
    root = getattr(dataset.source, "root", Path(dataset.name))
    inner = "split_fewshot"
    folders = [path, path / inner]
    for name in dict.fromkeys((dataset.name, root.name)):
        for parts in ((name,), (name, inner), (inner, name), ("indices", name)):
            folders.append(path.joinpath(*parts))
    return folders


def _match_records(rows: list[Any], dataset: Dataset, *, where: str) -> Records:
    """Return the dataset's own record for each published one."""
    tested = {record.path for record in dataset.test}
    record_of = {record.path: record for record in dataset.records}
    matched = {}
    absent = []
    for number, row in enumerate(rows):
        label = None
        match row:
            case {"impath": str(text), "label": value, "classname": name}:
                label = read_label(value)
        if label is None:
            raise DataError(
                f"{where}[{number}]: got {row!r:.200}; needs impath, label and classname"
            )
        record = _find_record(text, record_of)
        if record is None:
            absent.append(text)
            continue
        class_name = dataset.class_names[record.label]
        if label != record.label or _in_words(str(name)) != _in_words(class_name):
            raise DataError(
                f"{where}[{number}]: {record.path} is {label} {str(name)!r} there, but "
                f"{record.label} {class_name!r} in {dataset.name}"
            )
        if record.path in matched:
            raise DataError(f"{where}: listed twice: {record.path!r}")
        matched[record.path] = record
    leaked = [path for path in matched if path in tested]
    if leaked:
        raise DataError(f"{where}: images of the test split of {dataset.name}: {listed(leaked)}")
    if absent:
        raise DataError(f"{where}: {dataset.name} has no such images: {listed(absent)}")
    return tuple(matched.values())


def _find_record(text: str, record_of: Mapping[str, Record]) -> Record | None:
    """Return the record of the longest end of a path that is one of the dataset's paths."""
    parts = text.replace("\\", "/").split("/")
    parts = [part for part in parts if part not in ("", ".")]
    for start in range(len(parts)):
        record = record_of.get("/".join(parts[start:]))
        if record is not None:
            return record
    return None


def _in_words(class_name: str) -> str:
    return class_name.replace("_", " ").lower()
