"""Few-shot splits: drawn by a fixed rule and stored as JSON Lines, or published by others."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from study.data.records import (
    Dataset,
    Record,
    Records,
    listed,
    ordered_paths,
    read_json,
    read_label,
)
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
    train: Records
    """The training images, sorted by label and path."""
    val: Records
    """The validation images, sorted by label and path; none is a training image."""
    digest: str
    """The SHA-256 of the canonical JSON lines of the training and validation images."""


def wanted_val_shots(shots: int, val_shots: int | None) -> int:
    """Return the number of validation images per class; None means min(shots, `MOST_VAL_SHOTS`)."""
    return min(shots, MOST_VAL_SHOTS) if val_shots is None else val_shots


def canonical_line(**content: object) -> str:
    """Return what a line says of an image or of a part as canonical JSON."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def make_shots(
    dataset: str, shots: int, seed: int, train: Iterable[Record], val: Iterable[Record]
) -> Shots:
    """Return a few-shot split with its records sorted and its digest computed."""
    place = attrgetter("label", "path")
    parts = {"train": tuple(sorted(train, key=place)), "val": tuple(sorted(val, key=place))}
    digest = hashlib.sha256("\n".join(_lines(parts)).encode()).hexdigest()
    return Shots(dataset, shots, seed, parts["train"], parts["val"], digest)


def _lines(parts: dict[str, Records]) -> list[str]:
    return [
        canonical_line(label=record.label, path=record.path, split=split)
        for split, records in parts.items()
        for record in records
    ]


def write_shots(shots: Shots, path: Path) -> None:
    """Write a header line and one line per image; the file appears complete or not at all."""
    lines = [
        json.dumps({name: getattr(shots, name) for name in ("dataset", "seed", "shots", "digest")}),
        *_lines({"train": shots.train, "val": shots.val}),
    ]
    make_folder(path.parent)
    write_atomically(path, "\n".join(lines) + "\n", known=path.parent)


def read_shots(path: Path) -> Shots:
    """Read a file that `write_shots` wrote.

    Raises:
        DataError: if the file is missing or malformed, or its records do not match its digest.
    """
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    try:
        header, *entries = read_json(path, by_line=True)
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
    if not dataset.train:
        raise DataError(f"{dataset.name} has no training images: it is a test set only")
    key = f"shots of {dataset.name}, seed {seed}, {shots} a class"
    pool = ordered_paths(dataset.train, key)
    train = {label: paths[:shots] for label, paths in pool.items()}
    sizes = [len(train.get(label, ())) for label in range(len(dataset.class_names))]
    if min(sizes) < (shots if short == "fail" else 1):
        few = [
            f"{dataset.class_names[label]!r} has {size}"
            for label, size in enumerate(sizes)
            if size < shots
        ]
        raise DataError(
            f"{dataset.name}: {shots} shots a class are wanted, but {', '.join(few[:5])}"
            f"{f' and {len(few) - 5} more have too few' if len(few) > 5 else ''}; "
            f"allowed: at most {min(sizes)} shots, or data.short=take_all for all that a class has"
        )
    rest = (
        ordered_paths(dataset.val, key)
        if dataset.val
        else {label: paths[shots:] for label, paths in pool.items()}
    )
    wanted = wanted_val_shots(shots, val_shots)
    val = {label: rest.get(label, [])[:wanted] for label in pool}
    least = min(wanted, 1) if val_shots is None else wanted
    if scarce := [label for label, paths in val.items() if len(paths) < least]:
        counts = listed(f"{dataset.class_names[label]} ({len(val[label])})" for label in scarce)
        raise DataError(
            f"{dataset.name}: {wanted} validation images a class are wanted, but too few are left "
            f"in {counts}; allowed: fewer shots, fewer val_shots, or more images"
        )
    if any(len(paths) < wanted for paths in val.values()):
        logger.warning("%s: fewer than %d validation images in some classes", dataset.name, wanted)
    return make_shots(
        dataset.name,
        shots,
        seed,
        (Record(path, label) for label, paths in train.items() for path in paths),
        (Record(path, label) for label, paths in val.items() for path in paths),
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
    entries = _published_rows(path, dataset, shots, seed)
    train, val = (_match_records(rows, dataset, where=place) for place, rows in entries.items())
    where = next(iter(entries))
    if both := sorted({r.path for r in train} & {r.path for r in val}):
        raise DataError(f"{where}: in both train and val: {listed(both)}")
    if not (counts := Counter(record.label for record in train)):
        raise DataError(f"{where}: has no training images")
    named = {label: f"{dataset.class_names[label]} ({count})" for label, count in counts.items()}
    if many := [named[label] for label, count in counts.items() if count > shots]:
        raise DataError(f"{where}: more than {shots} images of {listed(many)}")
    available = Counter(record.label for record in dataset.train)
    if few := [named[i] for i, count in counts.items() if count < min(shots, available[i])]:
        logger.warning("%s: fewer than %d images of %s: is it whole?", where, shots, listed(few))
    return make_shots(dataset.name, shots, seed, train, val)


def _published_rows(path: Path, dataset: Dataset, shots: int, seed: int) -> dict[str, list[Any]]:
    """Return the rows of train and of val, by the place where they were found."""
    from study.data.images.sources import FolderSource  # it needs Pillow, which a trial does not

    stem = f"shot_{shots}-seed_{seed}"
    if path.is_file() and not path.name.startswith((f"{stem}.", f"{stem}_")):
        raise DataError(f"{path}: not the split of {shots} shots and seed {seed} ({stem})")
    # Splits may also lie in the dataset's own folder, whose name can differ from the dataset's.
    root = dataset.source.root.name if isinstance(dataset.source, FolderSource) else dataset.name
    named = [
        form.format(name)
        for name in dict.fromkeys((dataset.name, root))
        for form in ("{}", "{}/split_fewshot", "split_fewshot/{}", "indices/{}")
    ]
    folders = [path / place for place in ("", "split_fewshot", *named)]
    if path.is_file():
        folders = [path.parent]
    for folder in folders:
        lines = {split: folder / f"{stem}_{split}.jsonl" for split in ("train", "val")}
        if lines["train"].is_file():
            return {
                f"{file}, {split}": read_json(file, by_line=True) if file.exists() else []
                for split, file in lines.items()
            }
        if (whole := folder / f"{stem}.json").is_file():
            match read_json(whole):
                case {"train": {"data": [*train]}, "val": {"data": [*val]}}:
                    return {f"{whole}, train": train, f"{whole}, val": val}
            raise DataError(f"{whole}: needs the lists train.data and val.data")
    if pickled := [file for f in folders if (file := f / f"{stem}.pkl").exists()]:
        raise DataError(
            f"{pickled[0]}: a pickle can run any code and is never read; allowed are "
            f"{stem}_train.jsonl with {stem}_val.jsonl, and {stem}.json"
        )
    raise DataError(
        f"{stem}_train.jsonl or {stem}.json is missing; looked in {listed(map(str, folders))}"
    )


def _match_records(rows: list[Any], dataset: Dataset, *, where: str) -> list[Record]:
    """Return the dataset's own record for each published one."""
    tested = {record.path: record for record in dataset.test}
    known = tested | {record.path: record for record in (*dataset.train, *dataset.val)}
    found: dict[str, Record] = {}
    strange: list[str] = []
    for number, row in enumerate(rows):
        match row:
            case {"impath": str(text), "label": value, "classname": name} if (
                label := read_label(value)
            ) is not None:
                pass
            case _:
                raise DataError(
                    f"{where}[{number}]: got {row!r:.200}; needs impath, label and classname"
                )
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        suffixes = ("/".join(parts[start:]) for start in range(len(parts)))
        own = next((known[suffix] for suffix in suffixes if suffix in known), None)
        if own is None:
            strange.append(text)
            continue
        named = dataset.class_names[own.label]
        if (
            label != own.label
            or str(name).replace("_", " ").lower() != named.replace("_", " ").lower()
        ):
            raise DataError(
                f"{where}[{number}]: {own.path} is {label} {str(name)!r} there, but {own.label} "
                f"{named!r} in {dataset.name}"
            )
        if own.path in found:
            raise DataError(f"{where}: listed twice: {own.path!r}")
        found[own.path] = own
    if leaked := [path for path in found if path in tested]:
        raise DataError(f"{where}: images of the test split of {dataset.name}: {listed(leaked)}")
    if strange:
        raise DataError(f"{where}: {dataset.name} has no such images: {listed(strange)}")
    return list(found.values())
