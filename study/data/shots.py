"""Few-shot splits: drawn by a fixed rule and stored as JSON Lines."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from study.data.records import Dataset, Record, keyed_order, listed, read_text
from study.errors import DataError
from study.storage.atomic import make_folder, write_atomically

logger = logging.getLogger(__name__)

MOST_VAL_SHOTS = 4
Short = Literal["fail", "take_all"]


@dataclass(frozen=True)
class Shots:
    """The labelled images of one few-shot draw."""

    dataset: str
    """The name of the dataset that the images come from."""
    shots: int
    """The number of training images per class."""
    seed: int
    """The seed of the draw."""
    train: tuple[Record, ...]
    """The training images, sorted by label and path."""
    val: tuple[Record, ...]
    """The validation images, sorted by label and path; none is a training image."""
    digest: str
    """The SHA-256 of the canonical JSON lines of the training and validation images."""


def wanted_val_shots(shots: int, val_shots: int | None) -> int:
    """Return the number of validation images per class; None means min(shots, `MOST_VAL_SHOTS`)."""
    return min(shots, MOST_VAL_SHOTS) if val_shots is None else val_shots


def record_line(record: Record, **more: str) -> str:
    """Return a record, with any further fields, as one canonical JSON line."""
    content = {"label": record.label, "path": record.path, **more}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def make_shots(
    dataset: str, shots: int, seed: int, train: Iterable[Record], val: Iterable[Record]
) -> Shots:
    """Return a few-shot split with its records sorted and its digest computed."""
    place = attrgetter("label", "path")
    parts = {"train": tuple(sorted(train, key=place)), "val": tuple(sorted(val, key=place))}
    digest = hashlib.sha256("\n".join(_lines(parts)).encode()).hexdigest()
    return Shots(dataset, shots, seed, parts["train"], parts["val"], digest)


def _lines(parts: dict[str, tuple[Record, ...]]) -> list[str]:
    return [record_line(r, split=split) for split, records in parts.items() for r in records]


def write_shots(shots: Shots, path: Path) -> None:
    """Write a header line and one line per image; the file appears complete or not at all."""
    header = {name: getattr(shots, name) for name in ("dataset", "seed", "shots", "digest")}
    lines = [json.dumps(header), *_lines({"train": shots.train, "val": shots.val})]
    make_folder(path.parent)
    write_atomically(path, "\n".join(lines) + "\n", known=path.parent)


def read_shots(path: Path) -> Shots:
    """Read a file that `write_shots` wrote.

    Raises:
        DataError: if the file is missing or malformed, or its records do not match its digest.
    """
    rows = read_json_lines(path)
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    try:
        header, *entries = rows
        for entry in entries:
            parts[entry["split"]].append(Record(str(entry["path"]), int(entry["label"])))
        dataset, digest = str(header["dataset"]), str(header["digest"])
        shots = make_shots(
            dataset, int(header["shots"]), int(header["seed"]), parts["train"], parts["val"]
        )
    # An infinite label raises OverflowError.
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a file of shots ({error!r})") from error
    if shots.digest != digest:
        raise DataError(
            f"{path}: the records have digest {shots.digest}, the header says {digest}; "
            "the file was changed or cut: delete it to draw the same shots again"
        )
    return shots


def read_json_lines(path: Path) -> list[Any]:
    """Read the JSON value of each line of a file; blank lines are skipped.

    Raises:
        DataError: if the file is missing, or a line is not JSON.
    """
    try:
        return [json.loads(line) for line in read_text(path).splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


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
    training images that were not drawn.

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
    if shots < 1 or (val_shots is not None and val_shots < 0):
        raise DataError(f"shots={shots}, val_shots={val_shots}; allowed: at least 1 and 0")
    if not dataset.train:
        raise DataError(f"{dataset.name} has no training images: it is a test set only")
    key = f"shots of {dataset.name}, seed {seed}, {shots} a class"
    pool = ordered_paths(dataset.train, key)
    train = {label: paths[:shots] for label, paths in pool.items()}
    few = [label for label in range(len(dataset.class_names)) if len(train.get(label, ())) < shots]
    if few and (short == "fail" or any(label not in train for label in few)):
        counts = [f"{dataset.class_names[i]!r} has {len(train.get(i, ()))}" for i in few]
        least = min(len(train.get(i, ())) for i in few)
        raise DataError(
            f"{dataset.name}: {shots} shots a class are wanted, but {', '.join(counts[:5])}"
            f"{f' and {len(few) - 5} more have too few' if len(few) > 5 else ''}; "
            f"allowed: at most {least} shots, or taking all that a class has"
        )
    undrawn = {label: paths[shots:] for label, paths in pool.items()}
    rest = ordered_paths(dataset.val, key) if dataset.val else undrawn
    wanted = wanted_val_shots(shots, val_shots)
    val = {label: rest.get(label, [])[:wanted] for label in pool}
    _check_val(dataset, val, wanted, strict=val_shots is not None)
    return make_shots(
        dataset.name,
        shots,
        seed,
        (Record(path, label) for label, paths in train.items() for path in paths),
        (Record(path, label) for label, paths in val.items() for path in paths),
    )


def ordered_paths(records: Iterable[Record], key: str) -> dict[int, list[str]]:
    """Return the paths of each class, by label, in the order in which they are drawn."""
    paths: dict[int, list[str]] = {}
    for record in records:
        paths.setdefault(record.label, []).append(record.path)
    return {label: keyed_order(paths[label], key) for label in sorted(paths)}


def _check_val(dataset: Dataset, val: dict[int, list[str]], wanted: int, *, strict: bool) -> None:
    """Check that every class has enough validation images.

    With `strict` a class needs `wanted` of them, otherwise one; a warning reports fewer than
    `wanted`.

    Raises:
        DataError: if a class has too few; the message names these classes.
    """
    few = [label for label, paths in val.items() if len(paths) < (wanted if strict else 1)]
    counts = listed(f"{dataset.class_names[i]} ({len(val[i])})" for i in few)
    if few and wanted:
        raise DataError(
            f"{dataset.name}: {wanted} validation images a class are wanted, but too few are left "
            f"in {counts}; allowed: fewer shots, fewer val_shots (0 for none), or more images"
        )
    if not strict and any(len(paths) < wanted for paths in val.values()):
        logger.warning("%s: fewer than %d validation images in some classes", dataset.name, wanted)
