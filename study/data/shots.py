"""Few-shot splits: drawn by a fixed rule and stored as JSON Lines, or published by others."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from study.data.records import (
    Dataset,
    Record,
    Records,
    listed,
    ordered_records,
    read_json,
    read_label,
)
from study.data.splits import divide, has_groups, refuse_shared_groups
from study.errors import DataError
from study.storage.atomic import make_folder, write_atomically

logger = logging.getLogger(__name__)

MOST_VAL_SHOTS = 4
Short = Literal["fail", "take_all"]
_Rows = tuple[str, list[Any]]
"""A place, for messages, and the rows that stand there."""


@dataclass(frozen=True)
class Shots:
    """The labelled images of one few-shot draw."""

    dataset: str
    """The name of the dataset that the images come from."""
    shots: int
    """The number of training images per class."""
    seed: int
    """The seed of the draw."""
    train: Records
    """The training images, sorted by label and path."""
    val: Records
    """The validation images, sorted by label and path; none is a training image."""
    digest: str
    """The SHA-256 of the canonical JSON lines of the training and validation images."""


def val_shots_per_class(shots: int, val_shots: int | None) -> int:
    """Return the number of validation images per class; None means min(shots, `MOST_VAL_SHOTS`)."""
    if val_shots is None:
        return min(shots, MOST_VAL_SHOTS)
    return val_shots


def canonical_line(**content: object) -> str:
    """Return the canonical JSON of a line about an image or a part."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def make_shots(
    dataset: str, shots: int, seed: int, train: Iterable[Record], val: Iterable[Record]
) -> Shots:
    """Return a few-shot split with its records sorted and its digest computed."""
    by_label_and_path = attrgetter("label", "path")
    train = tuple(sorted(train, key=by_label_and_path))
    val = tuple(sorted(val, key=by_label_and_path))
    text = "\n".join(_lines("train", train) + _lines("val", val))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Shots(dataset, shots, seed, train, val, digest)


def record_line(record: Record, **place: object) -> str:
    """Return the canonical JSON line of an image; it has the group only where there is one."""
    content = {"label": record.label, "path": record.path, **place}
    if record.group:
        content["group"] = record.group
    return canonical_line(**content)


def _lines(split: str, records: Records) -> list[str]:
    return [record_line(record, split=split) for record in records]


def write_shots(shots: Shots, path: Path) -> None:
    """Write a header line and one line per image; the file appears complete or not at all."""
    header = {
        "dataset": shots.dataset,
        "seed": shots.seed,
        "shots": shots.shots,
        "digest": shots.digest,
    }
    lines = [json.dumps(header)]
    lines += _lines("train", shots.train)
    lines += _lines("val", shots.val)
    make_folder(path.parent)
    write_atomically(path, "\n".join(lines) + "\n", existing=path.parent)


def read_shots(path: Path) -> Shots:
    """Read a file that `write_shots` wrote.

    Raises:
        DataError: if the file is missing or malformed, or its records do not match its digest.
    """
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    try:
        header, *entries = read_json(path, by_line=True)
        for entry in entries:
            group = str(entry.get("group", ""))
            record = Record(str(entry["path"]), int(entry["label"]), group)
            parts[entry["split"]].append(record)
        dataset = str(header["dataset"])
        digest = str(header["digest"])
        size = int(header["shots"])
        seed = int(header["seed"])
        shots = make_shots(dataset, size, seed, parts["train"], parts["val"])
    # An infinite label raises OverflowError.
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a file of shots ({error!r})") from error
    if shots.digest != digest:
        raise DataError(
            f"{path}: the records have digest {shots.digest}, the header says {digest!r}; "
            "the file was changed or cut: delete it to draw the same shots again"
        )
    return shots


def draw_shots(
    dataset: Dataset,
    *,
    shots: int,
    val_shots: int | None = None,
    seed: int,
    short: Short = "fail",
) -> Shots:
    """Draw training and validation images of every class.

    The draw depends only on the dataset's name, the numbers of shots, the seed and the paths.
    Validation images come from the dataset's own validation split if it has one, else from the
    training images that were not drawn. Where these have groups, a training and a validation image
    are never of one group.

    Args:
        dataset: the dataset to draw from; its test split is not used.
        shots: the number of training images per class.
        val_shots: the number of validation images per class; None means min(shots, 4), or fewer
            if a class has fewer.
        seed: the seed of the draw.
        short: what to do if a class has fewer training images than shots: fail, or take them all.

    Raises:
        DataError: if classes have too few images; the message names them, their counts and what is
            allowed.
    """
    if not dataset.train:
        raise DataError(f"{dataset.name} has no training images: it is a test set only")
    key = f"shots of {dataset.name}, seed {seed}, {shots} a class"
    count = val_shots_per_class(shots, val_shots)
    pool_records, val_records = dataset.train, dataset.val
    if count and not val_records and has_groups(pool_records):
        shares = (shots / (shots + count), count / (shots + count))
        pool_records, val_records = divide(pool_records, shares, key, dataset.class_names)
    pool = ordered_records(pool_records, key)
    train = {label: images[:shots] for label, images in pool.items()}
    _refuse_small_classes(dataset, train, shots, short)
    val_pool = {label: images[shots:] for label, images in pool.items()}
    if val_records:
        val_pool = ordered_records(val_records, key)
    val = {label: val_pool.get(label, [])[:count] for label in pool}
    least = count
    if val_shots is None:
        least = min(count, 1)
    scarce = [label for label, images in val.items() if len(images) < least]
    if scarce:
        counts = listed(f"{dataset.class_names[label]} ({len(val[label])})" for label in scarce)
        raise DataError(
            f"{dataset.name}: {count} validation images a class are wanted, but too few are left "
            f"in {counts}; allowed: fewer shots, fewer val_shots, or more images"
        )
    if any(len(images) < count for images in val.values()):
        logger.warning("%s: fewer than %d validation images in some classes", dataset.name, count)
    return make_shots(dataset.name, shots, seed, chain(*train.values()), chain(*val.values()))


def _refuse_small_classes(
    dataset: Dataset, train: Mapping[int, Sequence[Record]], shots: int, short: Short
) -> None:
    """Raise DataError if a class has too few of the training images that were drawn."""
    sizes = [len(train.get(label, ())) for label in range(len(dataset.class_names))]
    fewest = min(sizes)
    if fewest >= shots or (short == "take_all" and fewest >= 1):
        return
    small = []
    for class_name, size in zip(dataset.class_names, sizes, strict=True):
        if size < shots:
            small.append(f"{class_name!r} has {size}")
    classes = ", ".join(small[:5])
    if len(small) > 5:
        classes += f" and {len(small) - 5} more have too few"
    raise DataError(
        f"{dataset.name}: {shots} shots a class are wanted, but {classes}; "
        f"allowed: at most {fewest} shots, or data.short=take_all for all that a class has"
    )


def read_published_shots(path: Path, dataset: Dataset, *, shots: int, seed: int) -> Shots:
    """Read a few-shot split that others published, for comparisons on the same images.

    Two forms are known: `shot_{n}-seed_{s}_{train,val}.jsonl` with one
    `{"impath", "label", "classname"}` per line, and `shot_{n}-seed_{s}.json` with the same records
    in `train.data` and `val.data`. Their paths may be relative to a data root or absolute on
    another machine, so they are matched to the dataset's paths by their last parts. Fewer images of
    a class than `shots` are only warned about.

    Args:
        path: the folder with the files, a folder above it, or one of the files.
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
    shared = {record.path for record in train} & {record.path for record in val}
    if shared:
        raise DataError(f"{where}: in both train and val: {listed(sorted(shared))}")
    if not train:
        raise DataError(f"{where}: has no training images")
    refuse_shared_groups(train, val, (), where=str(where))
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
    if path.is_file():
        if not path.name.startswith((f"{stem}.", f"{stem}_")):
            raise DataError(f"{path}: not the split of {shots} shots and seed {seed} ({stem})")
        folders = [path.parent]
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
                f"{pickled}: a pickle can run any code and is never read; allowed are "
                f"{stem}_train.jsonl with {stem}_val.jsonl, and {stem}.json"
            )
    raise DataError(
        f"{stem}_train.jsonl or {stem}.json is missing; looked in {listed(map(str, folders))}"
    )


def _shot_folders(path: Path, dataset: Dataset) -> list[Path]:
    """Return the folders where splits of a dataset may lie, given a folder above them."""
    from study.data.images.sources import FolderSource  # it needs Pillow, which a trial does not

    # Splits may also lie in the dataset's own folder, whose name can differ from the dataset's.
    names = [dataset.name]
    if isinstance(dataset.source, FolderSource) and dataset.source.root.name != dataset.name:
        names.append(dataset.source.root.name)
    folders = [path, path / "split_fewshot"]
    for name in names:
        folders.append(path / name)
        folders.append(path / name / "split_fewshot")
        folders.append(path / "split_fewshot" / name)
        folders.append(path / "indices" / name)
    return folders


def _match_records(rows: list[Any], dataset: Dataset, *, where: str) -> list[Record]:
    """Return the dataset's own record for each published one."""
    tested = {record.path for record in dataset.test}
    record_of = {record.path: record for record in dataset.test + dataset.train + dataset.val}
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
    return list(matched.values())


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
