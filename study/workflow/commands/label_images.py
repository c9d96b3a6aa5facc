"""The command ``predict``: images labelled by a tuned model."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.process.slow_imports import slow_imports
from study.workflow.arguments import add_model


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PATH",
        help="image files, and folders with images in them or in their folders; "
        "storage=FOLDER says where the study is",
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
        "--unknown",
        type=float,
        metavar="PERCENT",
        help="call an image unknown that is less like its class than all but this share of the "
        "images of known classes; needs a refitted average",
    )
    parser.add_argument(
        "--next",
        type=int,
        metavar="N",
        help="an experiment, see study/data/README.md: write only N images, to label next",
    )
    parser.add_argument(
        "--now",
        action="store_true",
        help="of a study that is not finished: use its best finished trial, by validation",
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


def label_images(options: Namespace) -> None:
    """Label images with a study's winner, a registered model or a delta.

    Raises:
        StudyError: an option, the model or all of the images cannot be used.
    """
    with slow_imports():
        from study.workflow.lookup import refuse_unknown_model, split_off_storage
    places, storage = split_off_storage(options.images)
    refuse_unknown_model(options.model, storage)
    with slow_imports():
        from study.workflow.image_labels import label_and_write
    label_and_write(options, places, storage)
