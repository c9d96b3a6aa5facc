"""Images labelled by a tuned model that a command names, as a table or as CSV."""

import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from study import tracking
from study.config.schema import TrackingConfig
from study.data.images.sources import IMAGE_SUFFIXES
from study.data.prompts import refuse_equal_prompts
from study.data.records import class_table, listed, read_text
from study.errors import ConfigError, DataError
from study.process.terminal_table import amount
from study.report.formatting import Table, csv_text, format_count, percent
from study.report.setting_descriptions import settings_in_words
from study.serving.classifier import TunedClassifier
from study.serving.labelling import LabelledImage, label_images, list_image_files
from study.serving.saved_model import SavedModel, read_saved_model, read_winner
from study.storage.atomic import write_atomically
from study.trial.study import Study
from study.workflow.frozen_configuration import frozen_config
from study.workflow.lookup import (
    REGISTERED,
    find_study,
    is_file_or_address,
    refuse_unknown_model,
)
from study.workflow.start_warnings import format_suffixes

FEW = 20
"""The most images of which a terminal gets a table."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula, at its beginning."""


def label_and_write(options: Namespace, places: Sequence[str], storage: str | None) -> None:
    """Label images with a study's winner, a registered model or a delta.

    Args:
        options: the options of the command.
        places: the images, and the folders of images.
        storage: see `study.workflow.lookup.find_study`.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    _check(options)
    class_names = None if options.classes is None else read_classes(options.classes)
    images = find_images(places)
    with tempfile.TemporaryDirectory(prefix="clipfit-predict-") as scratch:
        saved = find_model(options.model, Path(scratch), storage)
        classifier = saved.load_classifier(class_names=class_names, device=options.device)
    top = min(options.top, len(classifier.class_names))
    began = time.monotonic()
    labelled = _with_progress(
        label_images(classifier, images, top=top, batch_size=options.batch_size), len(images)
    )
    faults = _write(labelled, options, top, few=len(images) <= FEW)
    seconds = time.monotonic() - began
    print(
        *describe_labelling(saved, classifier, len(images), len(faults), seconds),
        sep="\n",
        file=sys.stderr,
    )
    if len(faults) == len(images):
        raise DataError(
            f"none of {len(images)} images could be read; first {format_path(faults[0].path)}: "
            f"{faults[0].error}"
        )


def _check(options: Namespace) -> None:
    """Look for faults before anything slow begins.

    Raises:
        ConfigError: there is one.
    """
    for name, value in {"--top": options.top, "--batch-size": options.batch_size}.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; allowed is 1 or more")
    out: Path | None = options.out
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
        DataError: the file cannot be read, there are fewer than two names, or CLIP reads two as
            the same text.
    """
    where, names = "--classes", [name.strip() for name in text.split(",")]
    with suppress(OSError):  # a list that is too long for a path
        if Path(text).is_file():
            where = f"--classes {text}"
            names = [line.strip() for line in read_text(Path(text)).splitlines() if line.strip()]
    if len(names) < 2:
        raise DataError(
            f"--classes is {text!r}, which gives {listed(names) or 'no names'}; allowed are two or "
            "more names with commas between them, or a text file that is there, with one a line"
        )
    refuse_equal_prompts(where, found := class_table(enumerate(names), where=where))
    return found


def find_images(words: Iterable[str]) -> list[Path]:
    """Return the images that are named, and those in named folders, in the order of the words.

    A file that is named itself is an image whatever its suffix, and may be missing: it is listed
    as unreadable then. Of other files in folders their numbers are printed, as error output.

    Raises:
        DataError: there is none.
    """
    found: list[Path] = []
    for place in map(Path, words):
        images, others = list_image_files(place) if _is_folder(place) else ([place], None)
        if not images:
            print(f"{place}: has no images", file=sys.stderr)
        if others:
            print(
                f"{place}: files of other formats are passed over: {format_suffixes(others)}",
                file=sys.stderr,
            )
        found += images
    if not found:
        raise DataError(
            "no images were found; allowed are image files, and folders that have some "
            f"({' '.join(sorted(IMAGE_SUFFIXES))}) in them or in their folders"
        )
    return found


def _is_folder(place: Path) -> bool:
    with suppress(OSError):  # a name that no folder can have, or one that may not be looked at
        return place.is_dir()
    return False


def find_model(word: str, scratch: Path, storage: str | Path | None = None) -> SavedModel:
    """Return the model that a command names.

    Args:
        word: a study's name or folder, the address of a registered model, or the path of a delta.
        scratch: an empty folder, which the model may need until it is loaded.
        storage: see `study.workflow.lookup.find_study`.

    Raises:
        StudyError: there is no such model, or the study has no winner.
    """
    if word.startswith(REGISTERED):
        return tracking.make_tracker(TrackingConfig().trackers).download_model(word, scratch)
    if is_file_or_address(word):
        return read_saved_model(Path(word))
    refuse_unknown_model(word, storage)
    folder = find_study(word, storage)
    return read_winner(Study(frozen_config(folder), folder), scratch)


def _with_progress(labelled: Iterator[LabelledImage], total: int) -> Iterator[LabelledImage]:
    """Yield what is labelled; a bar on the error output, if that is a terminal, shows how far."""
    bar = Progress(
        TextColumn("labelling"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,  # gone at the end; so rich writes nothing at all where there is no terminal
        # The rows that go to another terminal or a file meanwhile are not the bar's.
        redirect_stdout=False,
    )
    with bar:
        yield from bar.track(labelled, total=total)


def _write(
    labelled: Iterable[LabelledImage], options: Namespace, top: int, *, few: bool
) -> list[LabelledImage]:
    """Write the rows to where they belong: a file, a table on a terminal, or CSV.

    Returns:
        The images that could not be read.

    Raises:
        StorageError: the file cannot be written.
    """
    faults: list[LabelledImage] = []

    def noted() -> Iterator[LabelledImage]:
        for one in labelled:
            if one.error is not None:
                faults.append(one)
            yield one

    on_terminal = options.out is None and sys.stdout.isatty()
    if on_terminal and few:
        options.console.print(labels_table(list(noted()), top), highlight=False)
        return faults
    lines = chain([csv_text([csv_header(top)])], (csv_text([csv_row(one, top)]) for one in noted()))
    if options.out is not None:
        write_atomically(options.out, "".join(lines))
    elif on_terminal:  # where the bar would be in between
        print("".join(lines), end="")
    else:
        for line in lines:
            sys.stdout.write(line)
        sys.stdout.flush()
    return faults


def csv_header(top: int) -> list[str]:
    """Return the columns of the CSV with some number of classes a row."""
    ranks = range(1, top + 1)
    return ["path", *(f"{what}_{n}" for n in ranks for what in ("class", "probability")), "error"]


def csv_row(one: LabelledImage, top: int) -> list[object]:
    """Return the row of an image in the CSV.

    Class names are as they are, as in the other CSV files. A path that a spreadsheet would take for
    a formula begins with ``./``, which is the same path.
    """
    path = format_path(one.path)
    ranked = [cell for pair in one.classes for cell in pair]
    unknown = [None] * (2 * top - len(ranked))
    return [f"./{path}" if path.startswith(FORMULA) else path, *ranked, *unknown, one.error]


def format_path(path: Path) -> str:
    r"""Return a path as text; bytes that are not UTF-8 are written like ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def labels_table(labelled: Sequence[LabelledImage], top: int) -> Table:
    """Return the table of a few images for a terminal, with probabilities in percent."""
    faulty = any(one.error for one in labelled)
    rows = [
        [
            format_path(one.path),
            *(f"{name} {percent(probability)} %" for name, probability in one.classes),
            *[None] * (top - len(one.classes)),
            *([one.error or ""] if faulty else []),
        ]
        for one in labelled
    ]
    ranks = [f"class {rank}" for rank in range(1, top + 1)]
    columns = ["path", *ranks, *(["error"] if faulty else [])]
    return Table("", columns, rows, left=len(columns))


def describe_labelling(
    saved: SavedModel, classifier: TunedClassifier, images: int, faults: int, seconds: float
) -> list[str]:
    """Return lines that say how much was labelled, and what labelled it.

    Args:
        saved: the model.
        classifier: the model as it was loaded.
        images: the number of images.
        faults: the number of those that could not be read.
        seconds: how long decoding and labelling took.
    """
    unread = f", {format_count(faults)} could not be read (see the column error)" if faults else ""
    rate = images / max(seconds, 1e-9)
    lines = [
        f"{amount(images, 'image')}{unread}; {rate:.1f} images per second on "
        f"{classifier.model.device}",
        f"labelled by {saved.name}: {settings_in_words(saved.settings)}; "
        f"backbone {saved.info.backbone}; {_classes_in_words(saved, classifier)}",
    ]
    if saved.instead_of is not None:
        winner = settings_in_words(saved.instead_of)
        lines.append(
            f"it is used in place of the winner ({winner}), which has no file of tuned parameters; "
            "the model registry has the same one"
        )
    return lines


def _classes_in_words(saved: SavedModel, classifier: TunedClassifier) -> str:
    """Return how many classes there are, whose they are, and for which of them a head is used."""
    names = classifier.class_names
    classes = f"{len(names)} classes"
    if names != saved.info.class_names:
        classes += " from --classes"
    in_head = len(classifier.from_head)
    if saved.settings.head != "linear" or in_head == len(names):
        return classes
    if in_head == 0:
        return f"{classes}; the trained head is not used"
    return f"{classes}; the trained head is used for {in_head} of them, and text for the others"
