"""The command ``predict``: the classes of images, by a tuned model, as CSV."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.arguments import add_model
from study.commands.console import track
from study.errors import ConfigError, DataError, StudyError

if TYPE_CHECKING:
    from study.serving.classifier import TunedClassifier
    from study.serving.saved_model import SavedModel

HELP = "label images with the final model of a study, or another tuned model"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a model, images, and how to label them."""
    add_model(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PATH",
        help="image files, or folders that are searched recursively",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES | FILE",
        help="other class names: separated by commas, or a text file with one per line",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=3,
        help="classes to print per image, most probable first (default: 3)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="the CSV file to write (default: standard output)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="auto | cpu | cuda | mps",
        help="the device (default: auto, a GPU if there is one)",
    )


def run(options: Namespace) -> None:
    """Label images with a tuned model, and write the labels.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    from study.commands.find import find_model

    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; expected 1 or more")
    out = options.out
    if out is not None:  # which is known before anything slow begins
        is_writable = out.parent.is_dir() and os.access(out.parent, os.W_OK | os.X_OK)
        if out.suffix.lower() != ".csv" or out.is_dir() or not is_writable:
            raise ConfigError(
                f"--out is {out}; expected a file name that ends in .csv, in an existing "
                "folder that can be written"
            )
    # An unknown model is refused at once.
    with find_model(options.model, options.storage) as saved:
        names = None if options.classes is None else read_classes(options.classes)
        from study.serving.image_files import find_images

        images = find_images(options.images)
        classifier = saved.load_classifier(class_names=names, device=options.device)
        _label(options, saved, classifier, images)


def _label(
    options: Namespace, saved: "SavedModel", classifier: "TunedClassifier", images: Sequence[Path]
) -> None:
    """Label images under a bar, and write or print the labels and which model made them.

    Raises:
        DataError: no image can be read.
    """
    from rich.console import Console

    from study.report.setting_descriptions import settings_in_words
    from study.report.terminal import amount, print_csv, print_sentences
    from study.storage.atomic import write_atomically

    top, console = min(options.top, len(classifier.class_names)), Console(stderr=True)
    labelled = list(track(label_images(classifier, images, top), "labelling", len(images)))
    if options.out is not None:
        write_atomically(options.out, labels_csv(labelled, top))
    else:
        print_csv(labels_csv(labelled, top))
    unreadable = [(path, error) for path, *_, error in labelled if error]
    if len(unreadable) == len(images):
        path, error = unreadable[0]
        raise DataError(f"none of {len(images)} images could be read; first {path}: {error}")
    text = amount(len(images), "image")
    if unreadable:
        text += f", of which {len(unreadable)} could not be read (see the column error)"
    text += f", labelled by {saved.name}: {settings_in_words(saved.settings)}; backbone "
    text += f"{saved.info.backbone}; {len(classifier.class_names)} classes"
    if saved.settings.head == "linear":
        text += f", {len(classifier.from_head)} of them with the trained head"
    print_sentences(console, text)


def read_classes(text: str) -> tuple[str, ...]:
    """Return class names, as ``--classes`` has them: a file with one a line, or the names.

    Args:
        text: the path of a file, or names with commas between them. Blank lines count for nothing.

    Raises:
        DataError: the file cannot be read, there are fewer than two names, or two are equal.
    """
    from study.data.records import class_table, listed, read_text

    source, names = "--classes", [name.strip() for name in text.split(",")]
    if os.path.isfile(text):  # noqa: PTH113 -- False for a list that is too long for a path
        source = f"--classes {text}"
        names = [line.strip() for line in read_text(Path(text)).splitlines() if line.strip()]
    if len(names) < 2:
        raise DataError(
            f"--classes is {text!r}, which has {listed(names) or 'no names'}; expected two or "
            "more names, separated by commas, or an existing text file with one per line"
        )
    return class_table(enumerate(names), where=source)


def labels_csv(labelled: Iterable[Sequence[object]], top: int) -> str:
    r"""Return the labels as CSV; bytes of a path that are not UTF-8 are written like ``\xff``.

    Class names are not changed, as in the other CSV files.

    Args:
        labelled: the cells of each image, see `label_images`.
        top: the number of classes in them.
    """
    from study.report.tables import csv_text, spreadsheet_path

    header = ["path"]
    for rank in range(1, top + 1):
        header += [f"class_{rank}", f"probability_{rank}"]
    rows: list[list[object]] = [[*header, "error"]]
    for path, *cells in labelled:
        text = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
        rows.append([spreadsheet_path(text), *cells])
    return csv_text(rows)


def label_images(
    classifier: "TunedClassifier", paths: Sequence[Path], top: int
) -> Iterator[list[object]]:
    """Yield the cells of each image, in the order of the paths.

    These are its path; the name and the probability of each of the `top` most probable classes, the
    most probable first; and why it could not be read, without the path. What does not exist is
    None.

    Args:
        classifier: the classifier.
        paths: the files, whatever their suffixes.
        top: the number of classes to name, at most all.
    """
    from study.data.images.sources import LONGEST

    for path, row in zip(paths, classifier.classify(paths), strict=True):
        cells: list[object] = [path]
        if isinstance(row, StudyError):
            reason = str(row).removeprefix(f"{str(path)[:LONGEST]}: ")
            yield [*cells, *[None] * (2 * top), reason]
            continue
        # Of equal probabilities, the first class comes first, whatever the device.
        for class_id in row.argsort(descending=True, stable=True)[:top].tolist():
            cells += [classifier.class_names[class_id], row[class_id].item()]
        yield [*cells, None]
