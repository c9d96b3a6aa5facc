"""Few-shot splits that others published, matched to the images of a dataset."""

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


def read_published_shots(path: Path, dataset: Dataset, *, shots: int, seed: int) -> Shots:
    """Read a few-shot split that others published, for comparisons on the same images.

    Their files `shot_{n}-seed_{s}.json` have the lists `train.data` and `val.data` with one
    `{"impath", "label", "classname"}` per image, as those of cross-modal adaptation (Lin et al.,
    CVPR 2023), which are CoOp's draws. Their paths may be relative to a data root or absolute on
    another machine, so they are matched to the dataset's paths by their last parts.

    Args:
        path: the folder with the files, or one with a folder of the dataset's name that has them.
        dataset: the dataset that the images belong to.
        shots: the number of training images per class.
        seed: the seed of the published draw.

    Raises:
        DataError: if the dataset has no such image to train on, an image is listed twice, a label
            or class name differs, or a class has another number of images; the message names them.
    """
    file = _find_file(path, dataset, f"shot_{shots}-seed_{seed}")
    match read_json(file):
        case {"train": {"data": [*train_rows]}, "val": {"data": [*val_rows]}}:
            train = _match_records(train_rows, dataset, where=f"{file}, train")
            val = _match_records(val_rows, dataset, where=f"{file}, val")
        case _:
            raise DataError(f"{file}: needs the lists train.data and val.data")
    uses = Counter(record.path for record in train + val)
    repeated = [path for path, count in uses.items() if count > 1]
    if repeated:
        raise DataError(f"{file}: listed twice: {listed(repeated)}")
    refuse_shared_groups(Splits(train, val), where=str(file))
    available = Counter(record.label for record in dataset.train)
    counts = Counter(record.label for record in train)
    wrong = [
        f"{name} ({counts[label]})"
        for label, name in enumerate(dataset.class_names)
        if counts[label] != min(shots, available[label])
    ]
    if wrong:
        raise DataError(
            f"{file}: expected {shots} training images of each class, or all of a class that has "
            f"fewer; got {listed(wrong)}"
        )
    return make_shots(dataset.name, shots, seed, train, val)


def _find_file(path: Path, dataset: Dataset, stem: str) -> Path:
    """Return the file of a published draw, by its name without the suffix.

    Raises:
        DataError: there is none.
    """
    folders = [path, path / dataset.name, path / "indices" / dataset.name]
    for folder in folders:
        file = folder / f"{stem}.json"
        if file.is_file():
            return file
    raise DataError(
        f"{stem}.json is missing; looked in {listed(map(str, folders))}; CoOp's own {stem}.pkl is "
        "never read, since a pickle can run any code"
    )


def _match_records(rows: list[Any], dataset: Dataset, *, where: str) -> Records:
    """Return the dataset's own record for each published one."""
    # Not those of the test split, which no model may be trained or selected on.
    record_of = {record.path: record for record in dataset.train + dataset.val}
    matched = []
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
        matched.append(record)
    if absent:
        raise DataError(
            f"{where}: not among the training and validation images of {dataset.name}: "
            f"{listed(absent)}"
        )
    return tuple(matched)


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
