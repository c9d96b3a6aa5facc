"""Few-shot splits: drawn by a fixed rule and stored as JSON Lines, or published by others."""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from study.data.records import (
    Dataset,
    Record,
    Records,
    in_order,
    listed,
    listed_texts,
    ordered_records,
    read_text,
)
from study.data.splits import has_groups, split_by_groups
from study.errors import DataError
from study.storage.atomic import make_folder, sha256_of, write_atomically

logger = logging.getLogger(__name__)

MOST_VAL_SHOTS = 4
Short = Literal["fail", "take_all"]
All = Literal["all"]
ALL: All = "all"
"""The number of shots that takes every image there is."""
ShotCount = int | All
VALIDATED_SHARE = 0.2
"""The share of the training images that validates, where all are taken and none is for that."""


@dataclass(frozen=True)
class Shots:
    """The labelled images of one few-shot draw."""

    dataset: str
    """The name of the dataset that the images come from."""
    shots: ShotCount
    """The number of training images per class, or `ALL`."""
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
    dataset: str, shots: ShotCount, seed: int, train: Iterable[Record], val: Iterable[Record]
) -> Shots:
    """Return a few-shot split with its records sorted and its digest computed."""
    train, val = in_order(train), in_order(val)
    text = "\n".join(_lines(train, val))
    return Shots(dataset, shots, seed, train, val, sha256_of(text.encode()))


def record_line(record: Record, **place: object) -> str:
    """Return the canonical JSON line of an image; it has the group only where there is one."""
    content = {"label": record.label, "path": record.path, **place}
    if record.group:
        content["group"] = record.group
    return canonical_line(**content)


def _lines(train: Records, val: Records) -> list[str]:
    lines = [record_line(record, split="train") for record in train]
    lines += [record_line(record, split="val") for record in val]
    return lines


def write_shots(shots: Shots, path: Path) -> None:
    """Write a header line and one line per image; the file appears complete or not at all."""
    names = ("dataset", "seed", "shots", "digest")
    lines = [json.dumps({name: getattr(shots, name) for name in names})]
    lines += _lines(shots.train, shots.val)
    make_folder(path.parent)
    write_atomically(path, "\n".join(lines) + "\n", existing=path.parent)


def read_shots(path: Path) -> Shots:
    """Read a file that `write_shots` wrote.

    Raises:
        DataError: if the file is missing or malformed, or its records do not match its digest.
    """
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    try:
        header, *entries = map(json.loads, read_text(path).splitlines())
        for entry in entries:
            record = Record(entry["path"], entry["label"], entry.get("group", ""))
            parts[entry["split"]].append(record)
        shots = make_shots(
            header["dataset"], header["shots"], header["seed"], parts["train"], parts["val"]
        )
        digest = header["digest"]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
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
    shots: ShotCount,
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
        shots: the number of training images per class, or `ALL`.
        val_shots: the number of validation images per class; None means min(shots, 4), or fewer
            if a class has fewer. For `ALL` it means the dataset's validation images, or a fifth of
            its training images.
        seed: the seed of the draw.
        short: what to do if a class has fewer training images than shots: fail, or take them all.

    Raises:
        DataError: if classes have too few images; the message names them, their counts and what is
            allowed.
    """
    if not dataset.train:
        raise DataError(f"{dataset.name} has no training images: it has test images only")
    key = f"shots of {dataset.name}, seed {seed}, {shots} a class"
    if shots == ALL:
        return _all_shots(dataset, val_shots, seed, key)
    count = val_shots_per_class(shots, val_shots)
    pool_records, val_records = dataset.train, dataset.val
    if count and not val_records and has_groups(pool_records):
        shares = (shots / (shots + count), count / (shots + count))
        pool_records, val_records = split_by_groups(pool_records, shares, key, dataset.class_names)
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
            f"{dataset.name}: {count} validation images per class are requested, but too few "
            f"are left in {counts}; use fewer shots, fewer val_shots, or more images"
        )
    if any(len(images) < count for images in val.values()):
        logger.warning("%s: fewer than %d validation images in some classes", dataset.name, count)
    return make_shots(dataset.name, shots, seed, chain(*train.values()), chain(*val.values()))


def _all_shots(dataset: Dataset, val_shots: int | None, seed: int, key: str) -> Shots:
    """Return all training images as shots, less those that validate; see `draw_shots`."""
    train, val = dataset.train, dataset.val
    if val_shots == 0:
        val = ()
    elif not val and has_groups(train):
        if val_shots:
            raise DataError(
                f"{dataset.name}: val_shots is {val_shots}, but all images are divided by their "
                "groups, a fifth to validate; leave val_shots out, or give shots a number"
            )
        train, val = split_by_groups(
            train, (1 - VALIDATED_SHARE, VALIDATED_SHARE), key, dataset.class_names
        )
    train_of, val_of = ordered_records(train, key), ordered_records(val, key)
    absent = [name for label, name in enumerate(dataset.class_names) if label not in train_of]
    if absent:
        raise DataError(f"{dataset.name}: no training image of {listed(absent)}; each needs one")
    for label, images in train_of.items():
        if val_shots == 0 or val:
            continue
        count = min(val_shots or math.ceil(VALIDATED_SHARE * len(images)), len(images) // 2)
        val_of[label], train_of[label] = images[:count], images[count:]
    validated = [images[: val_shots or None] for images in val_of.values()]
    return make_shots(dataset.name, ALL, seed, chain(*train_of.values()), chain(*validated))


def _refuse_small_classes(
    dataset: Dataset, train: Mapping[int, Sequence[Record]], shots: int, short: Short
) -> None:
    """Raise DataError if a class has too few of the training images that were drawn."""
    sizes = [len(train.get(label, ())) for label in range(len(dataset.class_names))]
    fewest = min(sizes)
    if fewest >= shots or (short == "take_all" and fewest >= 1):
        return
    sized = zip(dataset.class_names, sizes, strict=True)
    small = [f"{class_name!r} has {size}" for class_name, size in sized if size < shots]
    raise DataError(
        f"{dataset.name}: {shots} shots per class are requested, but {listed_texts(small)}; "
        f"use at most {fewest} shots, or data.short=take_all for all that a class has"
    )
