"""The labels that a tuned model gives to images, as a table or as CSV."""

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from study.commands.models import find_model
from study.commands.signals import LastingConsole
from study.commands.start_warnings import format_suffixes
from study.data.images.sources import IMAGE_SUFFIXES
from study.data.records import class_table, listed, read_text
from study.errors import ConfigError, DataError
from study.process.terminal_table import amount, print_csv, print_sentences
from study.process.visible_text import visible_text
from study.report.formatting import Table, csv_text, percent, spreadsheet_path
from study.report.setting_descriptions import settings_in_words
from study.serving.classifier import TunedClassifier
from study.serving.labelling import LabelledImage, label_image_files, list_image_files
from study.serving.saved_model import SavedModel
from study.storage.atomic import write_atomically

FEW = 20
"""The largest number of images whose labels a terminal shows as a table."""


@dataclass(frozen=True)
class Labelling:
    """Which images are labelled by which model, and how; the fields are the command's options."""

    model: str
    images: Sequence[str]
    storage: str | None = None
    classes: str | None = None
    top: int = 3
    out: Path | None = None
    batch_size: int = 64
    device: str = "auto"


def label_and_write(options: Labelling) -> None:
    """Label images with a study's winner, a registered model or a delta, and write the labels.

    Args:
        options: the options of the command.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    _check(options)
    told = Console(stderr=True)
    class_names = None
    if options.classes is not None:
        class_names = read_classes(options.classes)
    images = find_images(options.images)
    with tempfile.TemporaryDirectory(prefix="clipfit-predict-") as scratch:
        saved = find_model(options.model, Path(scratch), options.storage)
        classifier = saved.load_classifier(class_names=class_names, device=options.device)
    top = min(options.top, len(classifier.class_names))
    began = time.monotonic()
    labelled = label_image_files(
        classifier,
        images,
        top=top,
        batch_size=options.batch_size,
    )
    labelled = _with_progress(labelled, len(images))
    unreadable = _write(labelled, options, top, few=len(images) <= FEW)
    seconds = time.monotonic() - began
    rate = len(images) / max(seconds, 1e-9)
    unread = f", {len(unreadable)} could not be read (see the column error)" if unreadable else ""
    device = classifier.model.device
    read = f"{amount(len(images), 'image')}{unread}; {rate:.1f} images per second on {device}"
    for line in (read, *_describe_model(saved, classifier, own_names=class_names is None)):
        print_sentences(told, line)
    if len(unreadable) == len(images):
        first = unreadable[0]
        raise DataError(
            f"none of {len(images)} images could be read; first {format_path(first.path)}: "
            f"{first.error}"
        )


def _describe_model(
    saved: SavedModel, classifier: TunedClassifier, *, own_names: bool
) -> Iterator[str]:
    """Yield which model labelled images, with which classes."""
    number, with_head = len(classifier.class_names), len(classifier.from_head)
    text = (
        f"labelled by {saved.name}: {settings_in_words(saved.settings)}; backbone "
        f"{saved.info.backbone}; {number} classes"
    )
    if not own_names:
        text += " from --classes"
    if saved.settings.head == "linear" and not with_head:
        text += "; the trained head is not used"
    elif saved.settings.head == "linear" and with_head != number:
        text += f"; the trained head is used for {with_head} of them, and text for the others"
    yield text
    if saved.instead_of is not None:
        yield (
            f"the best configuration ({settings_in_words(saved.instead_of)}) cannot be written as "
            "a delta, and this is the best that can; the model registry has the same one"
        )


def _check(options: Labelling) -> None:
    """Look for faults before anything slow begins.

    Raises:
        ConfigError: there is one.
    """
    for name in ("top", "batch_size"):
        value = getattr(options, name)
        if value < 1:
            name = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{name} is {value}; allowed is 1 or more")
    out = options.out
    if out is None:
        return
    if out.suffix.lower() != ".csv" or out.is_dir():
        raise ConfigError(f"--out is {out}; allowed is a file whose name ends in .csv")
    if not (out.parent.is_dir() and os.access(out.parent, os.W_OK | os.X_OK)):
        raise ConfigError(
            f"--out is {out}, and {out.parent} is no folder that may be written; allowed is a "
            "file in one that is there"
        )


def read_classes(text: str) -> tuple[str, ...]:
    """Return class names, as ``--classes`` has them: a file with one a line, or the names.

    Args:
        text: the path of a file, or names with commas between them. Blank lines count for nothing.

    Raises:
        DataError: the file cannot be read, there are fewer than two names, or two are equal.
    """
    source, names = "--classes", [name.strip() for name in text.split(",")]
    with suppress(OSError):  # a list that is too long for a path
        if Path(text).is_file():
            source = f"--classes {text}"
            lines = read_text(Path(text)).splitlines()
            names = [line.strip() for line in lines if line.strip()]
    if len(names) < 2:
        raise DataError(
            f"--classes is {text!r}, which gives {listed(names) or 'no names'}; allowed are two or "
            "more names with commas between them, or a text file that is there, with one a line"
        )
    return class_table(enumerate(names), where=source)


def find_images(words: Iterable[str]) -> list[Path]:
    """Return the images that are named, and those in named folders, in the order of the words.

    A file that is named itself counts as an image whatever its suffix is. Files of other formats in
    folders are counted as error output.

    Raises:
        DataError: a path does not exist, or no image is found.
    """
    paths = [Path(word) for word in words]
    missing = [str(path) for path in paths if not os.path.exists(path)]  # noqa: PTH110 -- no error
    if missing:
        raise DataError(
            f"no such image or folder: {listed(missing)}; allowed are image files and folders"
        )
    images: list[Path] = []
    for path in paths:
        is_folder = False
        with suppress(OSError):  # a name that no folder can have, or one that may not be read
            is_folder = path.is_dir()
        if not is_folder:
            images.append(path)
            continue
        in_folder, other_suffixes = list_image_files(path)
        if not in_folder:
            print(visible_text(f"{path}: has no images"), file=sys.stderr)
        if other_suffixes:
            suffixes = format_suffixes(other_suffixes)
            line = f"{path}: files of other formats are passed over: {suffixes}"
            print(visible_text(line), file=sys.stderr)
        images += in_folder
    if not images:
        raise DataError(
            "no images were found; allowed are image files, and folders that have some "
            f"({' '.join(sorted(IMAGE_SUFFIXES))}) in them or in their folders"
        )
    return images


def _with_progress(labelled: Iterator[LabelledImage], total: int) -> Iterator[LabelledImage]:
    """Yield the labelled images, under a bar on the error output if that is a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("labelling"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # rich would write an empty line
        # The rows go to the standard output meanwhile, which the bar must leave alone.
        redirect_stdout=False,
    )
    with bar:
        yield from bar.track(labelled, total=total)


def _write(
    labelled: Iterable[LabelledImage], options: Labelling, top: int, *, few: bool
) -> list[LabelledImage]:
    """Write the rows to a file, as a table to a terminal, or as CSV to the standard output.

    Returns:
        The images that could not be read.

    Raises:
        StorageError: the file cannot be written.
    """
    on_terminal = options.out is None and sys.stdout.isatty()
    if on_terminal and few:
        images = list(labelled)
        LastingConsole().print(labels_table(images, top), highlight=False)
        return [image for image in images if image.error is not None]
    unreadable: list[LabelledImage] = []
    lines = _csv_lines(labelled, top, unreadable)
    if options.out is not None:
        write_atomically(options.out, "".join(lines))
    elif on_terminal:  # where the bar would be in between
        print_csv("".join(lines))
    else:
        sys.stdout.writelines(lines)
        sys.stdout.flush()
    return unreadable


def _csv_lines(
    labelled: Iterable[LabelledImage], top: int, unreadable: list[LabelledImage]
) -> Iterator[str]:
    """Yield the lines of the CSV, and collect the images that could not be read."""
    header = ["path"]
    for rank in range(1, top + 1):
        header += [f"class_{rank}", f"probability_{rank}"]
    yield csv_text([[*header, "error"]])
    for image in labelled:
        if image.error is not None:
            unreadable.append(image)
        yield csv_text([csv_row(image, top)])


def csv_row(image: LabelledImage, top: int) -> list[object]:
    """Return the row of an image in the CSV.

    Class names are not changed, as in the other CSV files.
    """
    row: list[object] = [spreadsheet_path(format_path(image.path))]
    for name, probability in image.classes:
        row += [name, probability]
    row += [None] * (2 * (top - len(image.classes)))
    row.append(image.error)
    return row


def format_path(path: Path) -> str:
    r"""Return a path as text; bytes that are not UTF-8 are written like ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def labels_table(labelled: Sequence[LabelledImage], top: int) -> Table:
    """Return the table of a few images for a terminal, with probabilities in percent."""
    has_errors = any(image.error for image in labelled)
    columns = ["path"]
    columns += [f"class {rank}" for rank in range(1, top + 1)]
    if has_errors:
        columns.append("error")
    rows: list[list[object]] = []
    for image in labelled:
        row: list[object] = [format_path(image.path)]
        for name, probability in image.classes:
            row.append(f"{name} {percent(probability)} %")
        row += [None] * (top - len(image.classes))
        if has_errors:
            row.append(image.error or "")
        rows.append(row)
    return Table("", columns, rows, left=len(columns))
