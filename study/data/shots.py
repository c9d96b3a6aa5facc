"""Few-shot splits as data: drawn by a rule that depends on nothing else, kept as JSON Lines."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from study.data.records import Dataset, Record, keyed_order, listed
from study.errors import DataError
from study.storage.atomic import make_folder, write_atomically

logger = logging.getLogger(__name__)

MOST_VAL_SHOTS = 4


@dataclass(frozen=True)
class Shots:
    """The labelled images of one few-shot draw.

    Attributes:
        dataset: name of the dataset drawn from.
        shots: training images a class.
        seed: of the draw.
        train: training images, sorted by label and path.
        val: validation images, disjoint from them.
        digest: SHA-256 of the canonical JSON lines of both.
    """

    dataset: str
    shots: int
    seed: int
    train: tuple[Record, ...]
    val: tuple[Record, ...]
    digest: str


def record_line(record: Record, **more: str) -> str:
    """Write a record as one canonical JSON line."""
    content = {"label": record.label, "path": record.path, **more}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def make_shots(
    dataset: str, shots: int, seed: int, train: Iterable[Record], val: Iterable[Record]
) -> Shots:
    """Sort the records and compute the digest."""

    def place(record: Record) -> tuple[int, str]:
        return record.label, record.path

    parts = {"train": tuple(sorted(train, key=place)), "val": tuple(sorted(val, key=place))}
    digest = hashlib.sha256("\n".join(_lines(parts)).encode()).hexdigest()
    return Shots(dataset, shots, seed, parts["train"], parts["val"], digest)


def _lines(parts: dict[str, tuple[Record, ...]]) -> list[str]:
    return [record_line(r, split=split) for split, records in parts.items() for r in records]


def write_shots(shots: Shots, path: Path) -> None:
    """Write a header line and one line an image; the file appears whole or not at all."""
    header = {
        "dataset": shots.dataset,
        "seed": shots.seed,
        "shots": shots.shots,
        "digest": shots.digest,
    }
    lines = [json.dumps(header), *_lines({"train": shots.train, "val": shots.val})]
    make_folder(path.parent)
    write_atomically(path, "\n".join(lines) + "\n", known=path.parent)


def read_shots(path: Path) -> Shots:
    """Read what `write_shots` wrote.

    Raises:
        DataError: if the file is missing, malformed, or its records do not have the digest.
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
    # An infinite label is an OverflowError.
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a file of shots ({error!r})") from error
    if shots.digest != digest:
        raise DataError(
            f"{path}: the records have digest {shots.digest}, the header says {digest}; "
            "the file was changed or cut: delete it to draw the same shots again"
        )
    return shots


def read_json_lines(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing; looked in {path.parent}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def draw_shots(
    dataset: Dataset,
    *,
    shots: int,
    val_shots: int | None = None,
    seed: int,
    short: Literal["fail", "take_all"] = "fail",
) -> Shots:
    """Draw training and validation images of every class.

    The draw depends on the dataset's name, the shots, the seed and the paths alone. Validation
    images come from the dataset's own validation split where it has one, else from the training
    images that were not drawn.

    Args:
        dataset: to draw from; its test split has no part.
        shots: training images a class.
        val_shots: validation images a class; None for min(shots, 4) or as many as there are.
        seed: of the draw.
        short: what to do about a class with fewer training images than shots: fail, or take all.

    Raises:
        DataError: naming the classes that have too few images, their counts, what is allowed.
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
    if dataset.val:
        rest = ordered_paths(dataset.val, key)
    else:
        rest = {label: paths[shots:] for label, paths in pool.items()}
    wanted = min(shots, MOST_VAL_SHOTS) if val_shots is None else val_shots
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
    """Give the paths of every class, in the order of the draw."""
    paths: dict[int, list[str]] = {}
    for record in records:
        paths.setdefault(record.label, []).append(record.path)
    return {label: keyed_order(paths[label], key) for label in sorted(paths)}


def _check_val(dataset: Dataset, val: dict[int, list[str]], wanted: int, *, strict: bool) -> None:
    """Check that every class has its validation images."""
    few = [label for label, paths in val.items() if len(paths) < (wanted if strict else 1)]
    counts = listed(f"{dataset.class_names[i]} ({len(val[i])})" for i in few)
    if few and wanted:
        raise DataError(
            f"{dataset.name}: {wanted} validation images a class are wanted, but too few are left "
            f"in {counts}; allowed: fewer shots, fewer val_shots (0 for none), or more images"
        )
    if not strict and any(len(paths) < wanted for paths in val.values()):
        logger.warning("%s: fewer than %d validation images in some classes", dataset.name, wanted)
