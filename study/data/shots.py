"""Few-shot splits as data: JSON Lines with a hash, ours and those that others published."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.data.records import Dataset, Record, listed
from study.errors import DataError


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_shots(path: Path) -> Shots:
    """Read what `write_shots` wrote.

    Raises:
        DataError: if the file is missing, malformed, or its records do not have the digest.
    """
    rows = _read_json_lines(path)
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    try:
        header, *entries = rows
        for entry in entries:
            parts[entry["split"]].append(Record(str(entry["path"]), int(entry["label"])))
        dataset, digest = str(header["dataset"]), str(header["digest"])
        shots = make_shots(
            dataset, int(header["shots"]), int(header["seed"]), parts["train"], parts["val"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a file of shots ({error!r})") from error
    if shots.digest != digest:
        raise DataError(
            f"{path}: the records have digest {shots.digest}, the header says {digest}; "
            "the file was changed or cut: delete it to draw the same shots again"
        )
    return shots


def _read_json_lines(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing; looked in {path.parent}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_published_shots(path: Path, dataset: Dataset, *, shots: int, seed: int) -> Shots:
    """Read a few-shot split that others published, so that numbers compare on the same images.

    Two forms are known: `shot_{n}-seed_{s}_{train,val}.jsonl` with one
    `{"impath", "label", "classname"}` a line, and `shot_{n}-seed_{s}.json` with the same records
    in `train.data` and `val.data`. Their paths, relative to a data root or absolute on another
    machine, are found in the dataset by their last parts.

    Args:
        path: the folder with the files, a folder above it, or one of the files.
        dataset: whose images they are.
        shots: training images a class.
        seed: of the published draw.

    Raises:
        DataError: naming images that the dataset does not have, labels or names that differ, and
            images of the test split.
    """
    train_file, val_file = _published_files(path, dataset.name, shots, seed)
    if train_file.suffix == ".json":
        content = read_published_json(train_file)
        entries = {split: content[split] for split in ("train", "val")}
    else:
        entries = {
            "train": _read_json_lines(train_file),
            "val": _read_json_lines(val_file) if val_file.exists() else [],
        }
    known = {record.path: record for record in (*dataset.train, *dataset.val)}
    tested = {record.path for record in dataset.test}
    places = {"train": train_file, "val": val_file}
    parts = {
        split: _matched(rows, dataset, known, tested, where=f"{places[split]}, {split}")
        for split, rows in entries.items()
    }
    both = sorted({r.path for r in parts["train"]} & {r.path for r in parts["val"]})
    if both:
        raise DataError(f"{train_file}: in both train and val: {listed(both)}")
    return make_shots(dataset.name, shots, seed, parts["train"], parts["val"])


def read_published_json(path: Path) -> dict[str, list[Any]]:
    """Read `{"train": {"data": […]}, "val": {"data": […]}}`; other keys are left alone."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        lists = {split: content[split]["data"] for split in ("train", "val")}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: needs the lists train.data and val.data") from error
    if not all(isinstance(rows, list) for rows in lists.values()):
        raise DataError(f"{path}: train.data and val.data must be lists")
    return lists


def _published_files(path: Path, name: str, shots: int, seed: int) -> tuple[Path, Path]:
    """Find the file or the two files of one draw."""
    stem = f"shot_{shots}-seed_{seed}"
    if path.is_file():
        folders = [path.parent]
        if not path.name.startswith(stem + ".") and not path.name.startswith(stem + "_"):
            raise DataError(f"{path}: not the split of {shots} shots and seed {seed} ({stem})")
    else:
        folders = [path / part for part in (".", "split_fewshot", name, f"indices/{name}")]
        folders.append(path / name / "split_fewshot")
    for folder in folders:
        lines = (folder / f"{stem}_train.jsonl", folder / f"{stem}_val.jsonl")
        if lines[0].is_file():
            return lines
        whole = folder / f"{stem}.json"
        if whole.is_file():
            return whole, whole
    pickled = [folder / f"{stem}.pkl" for folder in folders if (folder / f"{stem}.pkl").exists()]
    if pickled:
        raise DataError(
            f"{pickled[0]}: a pickle can run any code and is never read; allowed are "
            f"{stem}_train.jsonl with {stem}_val.jsonl, and {stem}.json"
        )
    raise DataError(
        f"{stem}_train.jsonl or {stem}.json is missing; looked in {listed(map(str, folders))}"
    )


def _matched(
    rows: list[Any], dataset: Dataset, known: dict[str, Record], tested: set[str], *, where: str
) -> list[Record]:
    """Find published records among a dataset's own."""
    found: dict[str, Record] = {}
    strange: list[str] = []
    leaked: list[str] = []
    for number, row in enumerate(rows):
        try:
            text, label, name = str(row["impath"]), int(row["label"]), str(row["classname"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}[{number}]: got {str(row)[:200]}; needs impath, label and classname"
            ) from error
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        suffixes = ["/".join(parts[start:]) for start in range(len(parts))]
        path = next((suffix for suffix in suffixes if suffix in known or suffix in tested), None)
        if path is None:
            strange.append(text)
        elif path in tested:
            leaked.append(path)
        else:
            _same_class(known[path], label, name, dataset, where=f"{where}[{number}]")
            if path in found:
                raise DataError(f"{where}: listed twice: {path!r}")
            found[path] = known[path]
    if leaked:
        raise DataError(f"{where}: images of the test split of {dataset.name}: {listed(leaked)}")
    if strange:
        raise DataError(f"{where}: {dataset.name} has no such images: {listed(strange)}")
    return list(found.values())


def _same_class(own: Record, label: int, name: str, dataset: Dataset, *, where: str) -> None:
    """Check that label and class name are the dataset's own."""
    named = dataset.class_names[own.label]
    if label != own.label or name.replace("_", " ").lower() != named.replace("_", " ").lower():
        raise DataError(
            f"{where}: {own.path} is {label} {name!r} there, but {own.label} {named!r} in "
            f"{dataset.name}"
        )
