"""`clipfit-study check-data DATASET ROOT` checks that a dataset is complete.

`python -m study.data.check` is the same. Run it before you rent machines. The exit code is 0 only
if every listed image is there and, with `--images`, can be decoded.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from study.data.datasets import (
    DATASET_NAMES,
    Dataset,
    ImageSource,
    load_dataset,
    refuse_unread_folder,
)
from study.data.images.rgb import HIGHEST, PixelRange, checked_range, dark_images
from study.data.images.sources import FolderSource, kind_fault
from study.data.prompts import refuse_control_characters, refuse_equal_prompts
from study.data.readers.benchmarks import BENCHMARKS, SHIFTS, Counts, download_note
from study.data.readers.huggingface import HubSource
from study.data.readers.published import absent_classes
from study.errors import DataError, StudyError
from study.terminal import PIPED, TerminalTable, amount

NAMED = 20  # faults that are printed one by one
CHUNK = 512


def image_fault(source: ImageSource, highest: list[int] | None, path: str) -> str | None:
    """Return what is wrong with an image.

    Args:
        source: the source of the image.
        highest: gets the highest value of a 16-bit image; None means that only the image's file is
            looked at, and nothing decoded.
        path: the image.
    """
    try:
        if highest is not None:
            highest.append(source.open(path).info.get(HIGHEST, 0))
        elif isinstance(source, HubSource):
            source.encoded(path)
        elif isinstance(source, FolderSource):
            fault = file_fault(source.locate(path))
            return f"{path}: {fault}" if fault else None
    except FileNotFoundError:
        return f"{path}: missing"
    except (DataError, OSError) as error:
        return str(error)
    return None


def file_fault(file: Path) -> str | None:
    """Return why a file cannot hold an image, before its contents are read."""
    if fault := kind_fault(file):
        return fault
    if not os.access(file, os.R_OK):
        return "may not be read; give its reader permission"
    return None if file.stat().st_size else "empty file"


def set_faults(name: str, dataset: Dataset) -> list[str]:
    """Return what is wrong with the folders and splits, before any image is looked at."""
    needed = ("test",) if name in SHIFTS else ("train", "test")
    wrong = [
        f"{place}: class folder is missing or empty" for place in absent_classes(name, dataset)
    ]
    wrong += [f"no {split} images" for split in needed if not getattr(dataset, split)]
    for refuse in (refuse_equal_prompts, refuse_control_characters):
        try:
            refuse(name, dataset.class_names)
        except DataError as error:
            wrong.append(str(error))
    if trained := {record.label for record in dataset.train}:
        # No shot could be drawn from a class without images.
        wrong += [
            f"no train images of {own!r}"
            for label, own in enumerate(dataset.class_names)
            if label not in trained
        ]
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
    paths = [record.path for records in splits for record in records]
    rows = [[name, *(f"{count:,}" for count in found)]]
    published = BENCHMARKS[name].counts if name in BENCHMARKS else found
    if found != published:
        rows.append(["as published", *(f"{count:,}" for count in published)])
    console.print(TerminalTable(["dataset", "classes", "train", "val", "test"], rows))
    wrong = set_faults(name, dataset)
    highest: list[int] = []
    fault_of = partial(image_fault, dataset.source, highest if images else None)
    with Progress(console=console, transient=True) as bar, ThreadPoolExecutor(8) as pool:
        # In chunks, as what is to be done for each of a million images would fill the memory.
        for start in bar.track(
            range(0, len(paths), CHUNK), description="decoding" if images else "looking"
        ):
            wrong += filter(None, pool.map(fault_of, paths[start : start + CHUNK]))
    rest = [f"… and {len(wrong) - NAMED:,} more"] if len(wrong) > NAMED else []
    for fault in (*wrong[:NAMED], *rest):
        console.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    if wrong and name in BENCHMARKS and isinstance(dataset.source, FolderSource):
        console.print(download_note(name, dataset.source.root), markup=False, soft_wrap=True)
    if not wrong and found != published and name in (*SHIFTS, "imagenet"):
        # These sets have no list of images, and a part of a set is usable: warn, but do not fail.
        console.print(
            "these are not the published counts: was the whole archive unpacked?", style="yellow"
        )
    if warning := dark_images(max(highest, default=None)):
        console.print(f"{name}: {warning}", style="yellow", markup=False, soft_wrap=True)
    done = (
        "complete: every image was decoded" if images else "complete: every listed image is there"
    )
    console.print(amount(len(wrong), "fault") if wrong else done)
    return not wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="clipfit-study check-data",
        description="Check that a dataset is complete: lists, folders and, with --images, pixels.",
    )
    parser.add_argument(
        "dataset",
        help=f"{', '.join(DATASET_NAMES)}; hf:owner/name; or any name for a dataset of your own",
    )
    parser.add_argument(
        "root",
        nargs="?",
        type=Path,
        help="the folder of the datasets, or the folder or table of your own",
    )
    parser.add_argument("--images", action="store_true", help="decode every image as well")
    parser.add_argument(
        "--pixel-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="the values of black and white in images of more than 8 bits (data.pixel_range)",
    )
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else PIPED)
    try:
        whole = check(
            options.dataset,
            options.root,
            images=options.images,
            console=console,
            pixel_range=checked_range(options.pixel_range) if options.pixel_range else None,
        )
        return 0 if whole else 1
    except StudyError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
