"""The command ``predict``: the classes of images, by a tuned model."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.commands.arguments import add_model
from study.process.ctrl_c import exit_at_ctrl_c

HELP = "label images with the final model of a study, or another tuned model"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a model, images, and how to label them."""
    add_model(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PATH",
        help="image files, and folders with images in them or in their folders; storage=FOLDER "
        "says where the study is",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES | FILE",
        help="other class names: separated by commas, or in a text file, one on each line",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=3,
        help="how many classes to name for each image (default: 3)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="write CSV here (default: a table for up to 20 images on a terminal, else CSV to the "
        "standard output)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=64,
        metavar="N",
        help="how many images to encode at once (default: 64)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="auto | cpu | cuda | mps",
        help="where to compute (default: auto, a GPU if there is one)",
    )


def run(options: Namespace) -> None:
    """Label images with a tuned model, and write the labels.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    with exit_at_ctrl_c():
        from study.commands.find import find_study_of_model, split_off_storage
    words, storage = split_off_storage(options.images)
    find_study_of_model(options.model, storage)  # refuses an unknown one at once
    with exit_at_ctrl_c():
        from study.commands.labels import Labelling, label_and_write
    label_and_write(
        Labelling(
            model=options.model,
            storage=storage,
            images=words,
            classes=options.classes,
            top=options.top,
            out=options.out,
            batch_size=options.batch_size,
            device=options.device,
        )
    )
