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
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from study.data.datasets import (
    DATASET_NAMES,
    ON_DISK,
    Dataset,
    Record,
    load_dataset,
    refuse_unread_folder,
)
from study.data.images.decode import refuse_shape
from study.data.images.rgb import HIGHEST, PixelRange, checked_range, dark_images
from study.data.images.sources import FolderSource, kind_fault
from study.data.readers.benchmarks import BENCHMARKS, SHIFTS, Counts, download_note
from study.data.readers.huggingface import HubSource
from study.data.readers.imagenet import absent_classes
from study.errors import DataError, StudyError

NAMED = 20  # faults that are printed one by one
THREADS = 8
CHUNK = 512


def counts(dataset: Dataset) -> Counts:
    """Return the numbers of classes, and of train, val and test images."""
    splits = (dataset.train, dataset.val, dataset.test)
    return Counts(len(dataset.class_names), *map(len, splits))


def presence_fault(dataset: Dataset, path: str) -> str | None:
    """Return what is wrong with an image's file, without decoding it; None means nothing."""
    source = dataset.source
    if isinstance(source, HubSource):
        try:
            source.encoded(path)
        except DataError as error:
            return str(error)
    if not isinstance(source, FolderSource):
        return None
    try:
        file = source.locate(path)
        fault, size = kind_fault(file), file.stat().st_size
    except FileNotFoundError:
        return f"{path}: missing"
    except (DataError, OSError) as error:
        return str(error)
    if fault:
        return f"{path}: {fault}"
    if not os.access(file, os.R_OK):
        return f"{path}: may not be read; give its reader permission"
    return None if size else f"{path}: empty file"


def decoding_fault(dataset: Dataset, path: str, *, highest: list[int]) -> str | None:
    """Return why an image cannot be decoded; None means that it can.

    The highest value of a 16-bit image is appended to `highest`.
    """
    try:
        image = dataset.source.open(path)
    except DataError as error:
        return str(error)
    try:
        refuse_shape(image)
    except DataError as error:
        return f"{path}: {error}"
    highest += [image.info[HIGHEST]] if HIGHEST in image.info else []
    return None


def faults(
    dataset: Dataset,
    look: Callable[[Dataset, str], str | None],
    progress: Callable[[int], None],
) -> list[str]:
    """Return what is wrong with the images of all splits.

    Args:
        dataset: the dataset to check.
        look: returns the fault of one image, or None; called in several threads.
        progress: called with the number of images checked since its last call.
    """
    records: Sequence[Record] = (*dataset.train, *dataset.val, *dataset.test)
    found: list[str] = []
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for start in range(0, len(records), CHUNK):
            chunk = [record.path for record in records[start : start + CHUNK]]
            results = pool.map(lambda path: look(dataset, path), chunk)
            found += [fault for fault in results if fault is not None]
            progress(len(chunk))
    return found


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
    found = counts(dataset)
    table = Table("dataset", "classes", "train", "val", "test")
    table.add_row(name, *(f"{count:,}" for count in found))
    published = BENCHMARKS[name].counts if name in BENCHMARKS else found
    if found != published:
        table.add_row("as published", *(f"{count:,}" for count in published), style="dim")
    console.print(table)
    wrong = absent_classes(name, dataset) if name in SHIFTS or name == "imagenet" else []
    wrong = [f"{place}: class folder is missing or empty" for place in wrong]
    needed = ("test",) if name in SHIFTS else ("train", "test")
    wrong += [f"no {split} images" for split in needed if not getattr(dataset, split)]
    wrong += [*_untrained(name, dataset), *_absent_folders(dataset)]
    highest: list[int] = []
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("decoding" if images else "looking", total=sum(found[1:]))
        look = partial(decoding_fault, highest=highest) if images else presence_fault
        wrong += faults(dataset, look, lambda done: bar.advance(task, done))
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


def _untrained(name: str, dataset: Dataset) -> list[str]:
    """Return a fault for each class without training images: no shot could be drawn from it."""
    trained = {record.label for record in dataset.train}
    if not trained or name in SHIFTS:
        return []
    names = [own for label, own in enumerate(dataset.class_names) if label not in trained]
    return [f"no train images of {own!r}" for own in names]


def _absent_folders(dataset: Dataset) -> list[str]:
    """Return a fault for each missing image folder: clearer than a thousand missing files."""
    source = dataset.source
    if not isinstance(source, FolderSource):
        return []
    return [
        f"{anchor}: image folder is missing; looked in {source.root}"
        for anchor in source.anchors
        if not (source.root / anchor).is_dir()
    ]


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
