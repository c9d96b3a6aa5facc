"""Few-shot splits that others published, for comparisons on the same images."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from study.data.images.sources import FolderSource
from study.data.records import Dataset, Record, listed
from study.data.shots import Shots, make_shots, read_json_lines
from study.errors import DataError

logger = logging.getLogger(__name__)


def read_published_shots(path: Path, dataset: Dataset, *, shots: int, seed: int) -> Shots:
    """Read a few-shot split that others published.

    Two forms are known: `shot_{n}-seed_{s}_{train,val}.jsonl` with one
    `{"impath", "label", "classname"}` per line, and `shot_{n}-seed_{s}.json` with the same records
    in `train.data` and `val.data`. Their paths may be relative to a data root or absolute on
    another machine, so they are matched to the dataset's paths by their last parts.

    Args:
        path: the folder with the files, a folder above it, or one of the files.
        dataset: the dataset that the images belong to.
        shots: the number of training images per class.
        seed: the seed of the published draw.

    Raises:
        DataError: if the dataset does not have an image, an image is in the test split, a label or
            class name differs, or a class has more images than shots; the message names them.
    """
    # Splits may also lie in the dataset's own folder, whose name can differ from the dataset's.
    source = dataset.source
    names = [dataset.name, *([source.root.name] if isinstance(source, FolderSource) else [])]
    train_file, val_file = _published_files(path, list(dict.fromkeys(names)), shots, seed)
    if train_file.suffix == ".json":
        entries = read_published_json(train_file)
    else:
        entries = {
            "train": read_json_lines(train_file),
            "val": read_json_lines(val_file) if val_file.exists() else [],
        }
    known = {record.path: record for record in (*dataset.train, *dataset.val)}
    tested = {record.path for record in dataset.test}
    train, val = (
        _match_records(entries[split], dataset, known, tested, where=f"{file}, {split}")
        for split, file in (("train", train_file), ("val", val_file))
    )
    if both := sorted({r.path for r in train} & {r.path for r in val}):
        raise DataError(f"{train_file}: in both train and val: {listed(both)}")
    _check_counts(train, dataset, shots, where=str(train_file))
    return make_shots(dataset.name, shots, seed, train, val)


def _check_counts(train: list[Record], dataset: Dataset, shots: int, *, where: str) -> None:
    """Check the number of training images in each class.

    More than `shots` is an error. Fewer is a warning, unless the dataset has no more.

    Raises:
        DataError: if there are no training images, or more than `shots` in a class.
    """
    if not (counts := Counter(record.label for record in train)):
        raise DataError(f"{where}: has no training images")
    named = dataset.class_names
    if many := [f"{named[label]} ({count})" for label, count in counts.items() if count > shots]:
        raise DataError(f"{where}: more than {shots} images of {listed(many)}")
    available = Counter(record.label for record in dataset.train)
    if few := [label for label in counts if counts[label] < min(shots, available[label])]:
        short = listed(f"{named[label]} ({counts[label]})" for label in few)
        logger.warning("%s: fewer than %d images of %s: is it whole?", where, shots, short)


def read_published_json(path: Path) -> dict[str, list[Any]]:
    """Read the lists of `{"train": {"data": […]}, "val": {"data": […]}}`; ignore other keys."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        lists = {split: content[split]["data"] for split in ("train", "val")}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: needs the lists train.data and val.data") from error
    if not all(isinstance(rows, list) for rows in lists.values()):
        raise DataError(f"{path}: train.data and val.data must be lists")
    return lists


def _published_files(path: Path, names: list[str], shots: int, seed: int) -> tuple[Path, Path]:
    """Return the train and val files of a draw; the .json form has one file for both."""
    stem = f"shot_{shots}-seed_{seed}"
    if path.is_file():
        folders = [path.parent]
        if not path.name.startswith(stem + ".") and not path.name.startswith(stem + "_"):
            raise DataError(f"{path}: not the split of {shots} shots and seed {seed} ({stem})")
    else:
        folders = [path, path / "split_fewshot"]
        for name in names:
            places = (name, f"{name}/split_fewshot", f"split_fewshot/{name}", f"indices/{name}")
            folders += [path / place for place in places]
    for folder in folders:
        if (lines := (folder / f"{stem}_train.jsonl", folder / f"{stem}_val.jsonl"))[0].is_file():
            return lines
        if (whole := folder / f"{stem}.json").is_file():
            return whole, whole
    if pickled := [file for f in folders if (file := f / f"{stem}.pkl").exists()]:
        raise DataError(
            f"{pickled[0]}: a pickle can run any code and is never read; allowed are "
            f"{stem}_train.jsonl with {stem}_val.jsonl, and {stem}.json"
        )
    raise DataError(
        f"{stem}_train.jsonl or {stem}.json is missing; looked in {listed(map(str, folders))}"
    )


def _match_records(
    rows: list[Any], dataset: Dataset, known: dict[str, Record], tested: set[str], *, where: str
) -> list[Record]:
    """Return the dataset's own record for each published one."""
    found: dict[str, Record] = {}
    strange: list[str] = []
    leaked: list[str] = []
    for number, row in enumerate(rows):
        try:
            text, label, name = str(row["impath"]), row["label"], str(row["classname"])
            if not isinstance(label, int | str):
                raise TypeError(f"{label!r} is no label")
            label = int(label)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}[{number}]: got {row!r:.200}; needs impath, label and classname"
            ) from error
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        suffixes = ["/".join(parts[start:]) for start in range(len(parts))]
        path = next((suffix for suffix in suffixes if suffix in known or suffix in tested), None)
        if path is None:
            strange.append(text)
        elif path in tested:
            leaked.append(path)
        else:
            own = known[path]
            named = dataset.class_names[own.label]
            if label != own.label or _in_prompt(name) != _in_prompt(named):
                raise DataError(
                    f"{where}[{number}]: {path} is {label} {name!r} there, but {own.label} "
                    f"{named!r} in {dataset.name}"
                )
            if path in found:
                raise DataError(f"{where}: listed twice: {path!r}")
            found[path] = own
    if leaked:
        raise DataError(f"{where}: images of the test split of {dataset.name}: {listed(leaked)}")
    if strange:
        raise DataError(f"{where}: {dataset.name} has no such images: {listed(strange)}")
    return list(found.values())


def _in_prompt(name: str) -> str:
    return name.replace("_", " ").lower()
