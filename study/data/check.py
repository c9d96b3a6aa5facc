"""`clipfit-study check-data DATASET ROOT` checks that a dataset is complete.

`python -m study.data.check` is the same. Run it before you rent machines. The exit code is 0 only
if every listed image is there and, with `--images`, can be decoded.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from study.data.datasets import (
    DATASET_NAMES,
    ON_DISK,
    Dataset,
    ImageSource,
    Record,
    load_dataset,
    refuse_unread_folder,
)
from study.data.images.rgb import HIGHEST, PixelRange, checked_range, dark_images
from study.data.images.sources import FolderSource, kind_fault
from study.data.readers.benchmarks import BENCHMARKS, SHIFTS, Counts, download_note
from study.data.readers.huggingface import HubSource
from study.data.readers.imagenet import absent_classes
from study.errors import DataError, StudyError

NAMED = 20  # faults that are printed one by one
CHUNK = 512


def check_file(source: ImageSource, path: str) -> None:
    """Check an image's file without decoding it.

    Raises:
        DataError: if the file is missing, empty, not a file or may not be read.
    """
    if isinstance(source, HubSource):
        source.encoded(path)
    elif isinstance(source, FolderSource):
        try:
            file = source.locate(path)
            fault, size = kind_fault(file), file.stat().st_size
        except FileNotFoundError as error:
            raise DataError(f"{path}: missing") from error
        except OSError as error:
            raise DataError(str(error)) from error
        if not fault and not os.access(file, os.R_OK):
            fault = "may not be read; give its reader permission"
        if fault or not size:
            raise DataError(f"{path}: {fault or 'empty file'}")


def image_faults(
    records: Sequence[Record], look: Callable[[str], object], progress: Callable[[int], None]
) -> list[str]:
    """Return what is wrong with images.

    Args:
        records: the images to check.
        look: raises DataError if something is wrong with an image; called in several threads.
        progress: called with the number of images checked since its last call.
    """

    def fault_of(record: Record) -> str | None:
        try:
            look(record.path)
        except DataError as error:
            return str(error)
        return None

    found: list[str] = []
    with ThreadPoolExecutor(max_workers=8) as pool:
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            found += [fault for fault in pool.map(fault_of, chunk) if fault is not None]
            progress(len(chunk))
    return found


def set_faults(name: str, dataset: Dataset) -> list[str]:
    """Return what is wrong with the folders and splits, before any image is looked at."""
    absent = absent_classes(name, dataset) if name in (*SHIFTS, "imagenet") else []
    wrong = [f"{place}: class folder is missing or empty" for place in absent]
    needed = ("test",) if name in SHIFTS else ("train", "test")
    wrong += [f"no {split} images" for split in needed if not getattr(dataset, split)]
    trained = {record.label for record in dataset.train}
    if trained and name not in SHIFTS:  # no shot could be drawn from a class without images
        untrained = [own for n, own in enumerate(dataset.class_names) if n not in trained]
        wrong += [f"no train images of {own!r}" for own in untrained]
    source = dataset.source
    if isinstance(source, FolderSource):  # clearer than a thousand missing files
        wrong += [
            f"{anchor}: image folder is missing; looked in {source.root}"
            for anchor in source.anchors
            if not (source.root / anchor).is_dir()
        ]
    return wrong


def check(
    name: str,
    root: Path | None,
    *,
    images: bool,
    console: Console,
    pixel_range: PixelRange | None = None,
) -> bool:
    """Check a dataset and print the result.

    Args:
        name: the dataset's name, as for `load_dataset`.
        root: the data root, folder or table, as for `load_dataset`.
        images: whether to decode every image, including the test split.
        console: the console to print on.
        pixel_range: the values that become black and white in deep images, as for `load_dataset`.

    Returns:
        Whether the dataset is complete.

    Raises:
        DataError: if the lists of images cannot be read.
    """
    refuse_unread_folder(root, [name], option="DATASET")
    dataset = load_dataset(name, root, require_images=False, pixel_range=pixel_range)
    splits = (dataset.train, dataset.val, dataset.test)
    found = Counts(len(dataset.class_names), *map(len, splits))
    table = Table("dataset", "classes", "train", "val", "test")
    table.add_row(name, *(f"{count:,}" for count in found))
    published = BENCHMARKS[name].counts if name in BENCHMARKS else found
    if found != published:
        table.add_row("as published", *(f"{count:,}" for count in published), style="dim")
    console.print(table)
    wrong = set_faults(name, dataset)
    highest: list[int] = []

    def decode(path: str) -> None:
        highest.append(dataset.source.open(path).info.get(HIGHEST, 0))

    look: Callable[[str], object] = decode if images else partial(check_file, dataset.source)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding" if images else "looking", total=sum(found[1:]))
        wrong += image_faults(list(chain(*splits)), look, lambda done: bar.advance(task, done))
    for fault in wrong[:NAMED]:
        console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(wrong) > NAMED:
        console.print(f"… and {len(wrong) - NAMED:,} more", style="red")
    if wrong and name in ON_DISK and isinstance(dataset.source, FolderSource):
        console.print(download_note(name, dataset.source.root), markup=False, soft_wrap=True)
    done = "every image decoded" if images else "every listed image is there"
    if not wrong and found != published and name in (*SHIFTS, "imagenet"):
        # These sets have no list of images, and a part of a set is usable: warn, but do not fail.
        console.print("these are not the published counts: was all of it unpacked?", style="yellow")
    if warning := dark_images(max(highest, default=None)):
        console.print(f"{name}: {warning}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"{len(wrong):,} faults" if wrong else f"whole: {done}")
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="clipfit-study check-data",
        description="Check that a dataset is whole: lists, folders and, with --images, pixels.",
    )
    parser.add_argument(
        "dataset",
        help=f"{', '.join(DATASET_NAMES)}; hf:owner/name; or any name for one's own dataset",
    )
    parser.add_argument("root", nargs="?", type=Path, help="data root, folder, or table")
    parser.add_argument("--images", action="store_true", help="decode every image as well")
    parser.add_argument(
        "--pixel-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="black and white of images deeper than 8 bits, as data.pixel_range",
    )
    options = parser.parse_args(arguments)
    console = Console()
    try:
        whole = check(
            options.dataset,
            options.root,
            images=options.images,
            console=console,
            pixel_range=checked_range(options.pixel_range) if options.pixel_range else None,
        )
    except StudyError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
