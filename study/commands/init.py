"""The command ``init``: a commented configuration that suits images and this machine."""

import math
import os
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.commands.console import output_console
from study.errors import ConfigError, Fault, FaultsError

if TYPE_CHECKING:
    from study.config.yaml_values import Values
    from study.data.records import Dataset

HELP = "inspect a folder of images and write a configuration for it"
CORE_MINUTES = 1.75
"""The time of a search for each training image; 80 images take 35 minutes on four cores."""
SHORTEST, LONGEST = 10, 720
"""The least and the most minutes of a search."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the images, values for the file, and its path."""
    parser.add_argument(
        "images", metavar="FOLDER", help="a folder with one folder per class, or a table"
    )
    parser.add_argument(
        "values",
        nargs="*",
        default=[],
        metavar="key=value",
        help="values to write, such as data.shots=4; others are derived from the images",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("study.yaml"),
        metavar="FILE.yaml",
        help="the file to create (default: study.yaml)",
    )


def run(options: Namespace) -> None:
    """Write a configuration for the images of a folder or table, and print how to run it.

    Raises:
        StudyError: the file is there already, the checkpoint cannot be had, or the images cannot
            be read or are too few.
    """
    from study.config.reference import list_keys
    from study.config.yaml_text import commented_yaml
    from study.report.terminal import print_sentences, print_unwrapped
    from study.storage.atomic import StorageError

    out = options.out
    if out.exists():
        raise ConfigError(f"{out} exists; expected a new file: --out FILE.yaml")
    dataset, values = _find_plan(options.images, options.values)
    meanings = {key.name: key.meaning for key in list_keys()}
    header = "`clipfit-study config` prints all keys with their values."
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(commented_yaml(values, meanings, header))
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror}") from error
    console = output_console()
    print_sentences(
        console,
        f"{out}: {len(dataset.class_names)} classes; images: {len(dataset.train)} to train, "
        f"{len(dataset.val)} to validate, {len(dataset.test)} to test",
    )
    if not values["search"]["trials"]:
        text = "no search: it needs 3 images per class, or 4 groups per class if there are groups"
        print_sentences(console, f"{text}; in your own split, 2 of either outside the test split")
    command = f"clipfit-study run {shlex.quote(str(out))}"
    print_unwrapped(console, f"  {command} --check --images --estimate\n  {command}")


def _find_plan(images: str, words: Sequence[str]) -> "tuple[Dataset, Values]":
    """Return the dataset, and the values of the first plan that is possible.

    Raises:
        StudyError: none is possible, or the checkpoint or the images cannot be read.
    """
    from study.commands.check import find_data_faults
    from study.commands.find import built_in_file
    from study.config.loading import build_config
    from study.config.methods import Projection
    from study.config.yaml_values import parse_overrides, put_value, read_values
    from study.data.datasets import DATASET_NAMES
    from study.data.records import is_text
    from study.method.device import gpu_kind
    from study.storage.study_folder import StudyFolder
    from study.trial.study import Study

    # Without `..`, and with the links that the user has set.
    root = Path(os.path.abspath(images))  # noqa: PTH100
    if not is_text(str(root)):
        raise ConfigError(f"the name of {str(root)!r} is not UTF-8; rename it")
    name = re.sub(r"[^A-Za-z0-9]+", "-", root.stem).strip("-").lower()
    if not name or name in DATASET_NAMES:  # which are read in other ways
        name = "photos"
    given = {"data.dataset": name, "data.root": str(root), **parse_overrides(words)}
    suited: Values = {"backbone.name": "openai/clip-vit-base-patch32"}
    if gpu_kind() == "cuda":
        suited = {"backbone.name": "openai/clip-vit-base-patch16", "resources.gpus_per_trial": 1}
    first = build_config({}, images, suited | given)
    study = Study(first, StudyFolder(first.storage / "init"))
    _ = study.dataset  # can be read
    if study.architecture.family not in Projection.families:
        suited["search.baselines.projection"] = None
    faults: list[Fault] = []
    for base, plan in suited_plans(study.dataset):
        values = read_values(built_in_file(base))
        values["data"] = {"dataset": "", "root": ""} | values["data"]  # these come first
        for key, value in (suited | plan | given).items():
            put_value(values, key, value)
        study = study.with_config(build_config(values, images))
        faults = find_data_faults(study)
        if not faults:
            return study.dataset, values
    raise FaultsError("the study cannot start,", faults)


def suited_plans(dataset: "Dataset") -> "Iterator[tuple[str, Values]]":
    """Yield the studies that may be possible with the images of a dataset, the best first.

    Each is the name of a built-in configuration and what replaces its values, by dotted key.
    """
    from study.search.cluster import count_cores

    sizes = Counter(record.label for record in dataset.train)
    counts = [sizes[label] for label in range(len(dataset.class_names))]
    # For these a laptop trains many classes in hours, not days.
    shots = 16 if len(counts) <= 5 else 8 if len(counts) <= 40 else 4
    left = max(min(counts) - shots, 0)
    if dataset.val:
        validated = Counter(record.label for record in dataset.val)
        left = min(validated[label] for label in range(len(counts)))
    suited: Values = {"data.shots": shots, "data.val_shots": min(shots // 4, left)}
    if min(counts) < shots:
        suited["data.short"] = "take_all"
    learned = sum(min(count, shots) for count in counts)
    minutes = max(math.ceil(CORE_MINUTES * learned / count_cores()), SHORTEST)
    for folds in (3, 2):
        yield "photos", suited | {"search.folds": folds, "search.minutes": min(minutes, LONGEST)}
    # Trials cannot be validated with so few images.
    yield "clipfit", suited
