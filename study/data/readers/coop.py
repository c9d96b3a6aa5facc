"""CoOp's folder layout, the standard of the field, with its published split files.

A split file is `{"train": [[path, label, class name], …], "val": …, "test": …}`; its paths are
relative to the image folder. The class names in the published files are already cleaned. They are
cleaned again here, so that a file with the raw names gives the same prompts.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from study.data.images.sources import FolderSource
from study.data.prompts import templates_of
from study.data.readers.benchmarks import LAYOUTS, Layout, download_note
from study.data.records import (
    Dataset,
    Record,
    check_splits,
    class_table,
    listed,
    read_label,
    read_text,
    relative_path,
)
from study.errors import DataError


def dataset_folder(root: Path, folder: str, marker: str) -> Path:
    """Return a dataset's folder: `root/folder`, or `root` itself if the marker is in it."""
    if not (root / folder).is_dir() and (root / marker).exists():
        return root
    return root / folder


def read_split_file(
    path: Path, layout: Layout, *, hint: str = ""
) -> tuple[tuple[str, ...], tuple[Record, ...], tuple[Record, ...], tuple[Record, ...]]:
    """Read class names, train, val and test from a split file.

    Raises:
        DataError: if the file is missing or not JSON, or an entry is malformed, is listed twice, or
            has a path outside the folder; the message names the entry.
    """
    try:
        content = json.loads(read_text(path, hint=hint))
    # Numbers of thousands of digits raise ValueError, deep nesting RecursionError.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not whole JSON ({error}). {hint}") from error
    wanted = ("train", "val", "test")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(split), list) for split in wanted
    ):
        raise DataError(f"{path}: needs the lists 'train', 'val' and 'test'. {hint}")
    splits = [
        [
            _entry(entry, layout.images, where=f"{path}, {split}[{number}]")
            for number, entry in enumerate(content[split])
        ]
        for split in wanted
    ]
    kept = [[r for r, name in entries if name not in layout.dropped] for entries in splits]
    named = [(record.label, name) for entries in splits for record, name in entries]
    pairs = {(label, layout.clean(name)) for label, name in named if name not in layout.dropped}
    if dropped := {label for label, name in named if name in layout.dropped}:
        # Renumber the classes that are kept, so that their labels are 0..n-1 again.
        moved = {label: label - sum(d < label for d in dropped) for label, _ in pairs}
        pairs = {(moved[label], name) for label, name in pairs}
        kept = [[Record(r.path, moved[r.label]) for r in records] for records in kept]
    names = class_table(sorted(pairs), where=str(path))
    train, val, test = (tuple(records) for records in kept)
    check_splits(train, val, test, where=str(path))
    return names, train, val, test


def _entry(entry: object, images: str, *, where: str) -> tuple[Record, str]:
    """Return the record and the raw class name of one `[path, label, class name]`."""
    if isinstance(entry, list) and len(entry) == 3:
        text, label, name = entry
        if isinstance(label, str):
            label = read_label(label)
        whole = isinstance(label, int) and not isinstance(label, bool)
        if isinstance(text, str) and whole and isinstance(name, str):
            path = relative_path(text, where=where)
            return Record(f"{images}/{path}" if images else path, int(label)), name.strip()
    raise DataError(f"{where}: got {entry!r:.200}; allowed is [path, label, class name]")


def load_coop(
    name: str, root: Path, *, templates: Sequence[str] | None = None, require_images: bool = True
) -> Dataset:
    """Read a dataset that has a published split file (one of `LAYOUTS`).

    Raises:
        DataError: if the split file or the image folder is missing, or the split is invalid.
    """
    layout = LAYOUTS[name]
    folder = dataset_folder(root, layout.folder, layout.split)
    hint = download_note(name, folder)
    names, train, val, test = read_split_file(folder / layout.split, layout, hint=hint)
    if require_images:
        require_folder(folder, layout.images, hint=hint)
    used = {record.path.partition("/")[0] for record in (*train, *val, *test)}
    anchors = (layout.images,) if layout.images else layout.anchors
    return Dataset(
        name=name,
        class_names=names,
        templates=templates_of(name, templates),
        train=train,
        val=val,
        test=test,
        source=FolderSource(folder, tuple(anchor for anchor in anchors if anchor in used)),
    )


def require_folder(folder: Path, images: str, *, hint: str) -> None:
    """Check that the image folder is there.

    Raises:
        DataError: if it is missing; the message names it and says how to get it (`hint`).
    """
    if images and not (folder / images).is_dir():
        raise DataError(f"image folder {images} is missing; looked in {folder}. {hint}")


def load_aircraft(
    name: str, root: Path, *, templates: Sequence[str] | None = None, require_images: bool = True
) -> Dataset:
    """Read FGVC Aircraft, whose splits are text files with one `image variant` per line.

    Raises:
        DataError: if a list or the image folder is missing, a line has an unknown variant, or a
            variant has no training image.
    """
    folder = dataset_folder(root, "fgvc_aircraft", "variants.txt")
    hint = download_note(name, folder)
    variants = [line for _, line in read_lines(folder / "variants.txt", hint=hint)]
    names = class_table(enumerate(variants), where=str(folder / "variants.txt"))
    label_of = {variant: label for label, variant in enumerate(variants)}

    def read_split(split: str) -> Iterator[Record]:
        path = folder / f"images_variant_{split}.txt"
        for number, line in read_lines(path, hint=hint):
            image, _, variant = line.partition(" ")
            if variant.strip() not in label_of:
                raise DataError(
                    f"{path}, line {number}: variant {variant.strip()!r} is not in variants.txt"
                )
            image = relative_path(f"{image}.jpg", where=f"{path}, line {number}")
            yield Record(f"images/{image}", label_of[variant.strip()])

    train, val, test = (tuple(read_split(split)) for split in ("train", "val", "test"))
    check_splits(train, val, test, where=str(folder))
    if untrained := sorted(set(range(len(names))) - {record.label for record in train}):
        raise DataError(
            f"{folder / 'images_variant_train.txt'}: no image of "
            f"{listed(names[label] for label in untrained)}"
        )
    if require_images:
        require_folder(folder, "images", hint=hint)
    return Dataset(
        name=name,
        class_names=names,
        templates=templates_of(name, templates),
        train=train,
        val=val,
        test=test,
        source=FolderSource(folder, ("images",)),
    )


def read_lines(path: Path, *, hint: str) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not blank: the number of each, and its stripped text.

    Raises:
        DataError: if the file cannot be read; the message says how to get it (`hint`).
    """
    lines = enumerate(read_text(path, hint=hint).splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]
