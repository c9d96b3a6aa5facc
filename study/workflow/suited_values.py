"""Values of a configuration that suit the images of a dataset and this machine, with reasons."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from study.config.shipped import QUICKSTART, shipped_file
from study.config.yaml_values import read_values
from study.data.records import Dataset
from study.data.shots import ALL
from study.embedded import EMBEDDED
from study.method.device import choose_device, gpu_kind, list_gpus
from study.method.precision import choose_precision
from study.method.recipe import UNEQUAL
from study.process.terminal_table import amount
from study.report.sentences import sentences
from study.workflow.announcement import count_cores

Choices = dict[str, tuple[Any, str]]
"""Values by dotted key, each with the reason for it; a text is empty where there is none."""
MINUTES, IMAGES, CORES = 35, 80, 4
"""The limit of the search of `photos`, for so many images to learn from on so many cores."""
AS_MANY = 16
"""The number of cores that a GPU stands for; nobody has measured it."""
SHORTEST, LONGEST = 10, 720
"""The least and the most minutes of a search."""
SERIES = r"(.*\d)[-_ ][A-Za-z]*\d+\.\w+$"
"""A pattern of paths such as ``cat/012_1.jpg`` and ``cat/012_2.jpg``, whose group is 012."""


def suited_plans(dataset: Dataset, backbone: str) -> Iterator[tuple[str, Choices]]:
    """Yield the studies that may be possible with the images of a dataset, the best first.

    Each is the name of a shipped configuration and what replaces its values.

    Args:
        dataset: the dataset.
        backbone: the name of the checkpoint.
    """
    choices = _of_images(dataset)
    for folds in (3, 2):
        reason = "each trial trains so many models, and each is validated on images left out"
        yield "photos", choices | _ranges_of(backbone) | {"search.folds": (folds, reason)}
    del choices["search.minutes"]
    reason = (
        "no search, since its trials cannot be validated with so few images: 3 of each class allow "
        "one, and 4 groups where images have groups"
    )
    yield "clipfit", choices | {"search.trials": (0, reason)}


def _of_images(dataset: Dataset) -> Choices:
    """Return the values that the numbers of images decide."""
    sizes = Counter(record.label for record in dataset.train)
    counts = [sizes[label] for label in range(len(dataset.class_names))]
    smallest, largest = min(counts), max(counts)
    span = f"the smallest class has {smallest} to learn from, the largest {largest}"
    wanted = _shots_wanted(len(counts))
    learned = wanted * len(counts)
    choices: Choices = {}
    if smallest >= wanted:
        left = smallest - wanted
        if dataset.val:
            validated = Counter(record.label for record in dataset.val)
            left = min(validated[label] for label in range(len(counts)))
        reason = "images of each class beside them; folds of all these validate"
        choices["data.shots"] = (wanted, f"images of each class; {span}; `all` takes every image")
        choices["data.val_shots"] = (min(wanted // 4, left), reason)
    elif sum(counts) <= 2 * learned:
        learned = sum(counts)
        choices["data.shots"] = (ALL, f"every image: {span}")
        choices["data.val_shots"] = (None, "those of validation, else a fifth of each class")
    else:
        choices["data.shots"] = (wanted, f"images of each class at most; {span}")
        choices["data.short"] = ("take_all", "of a class that has fewer")
        choices["data.val_shots"] = (0, "folds of the images to learn from validate")
    if smallest < wanted and largest > UNEQUAL * smallest:
        reason = "training makes up for the sizes of classes, and scores count every class alike"
        choices["training.balance"] = ("auto", reason)
    cores = count_cores()
    if gpu_kind() == "cuda":
        cores = AS_MANY
    minutes = 5 * math.ceil(MINUTES * learned / IMAGES * CORES / cores / 5)
    reason = f"a limit of the search, for {amount(learned, 'image')} to learn from"
    choices["search.minutes"] = (min(max(minutes, SHORTEST), LONGEST), reason)
    return choices


def _shots_wanted(classes: int) -> int:
    """Return the number of shots for which a laptop trains many classes in hours, not days."""
    if classes <= 5:
        return 16
    if classes <= 40:
        return 8
    return 4


def describe_images(dataset: Dataset) -> str:
    """Return what is there, and how to keep images together that seem to be of one series."""
    images = dataset.train + dataset.val + dataset.test
    series: Counter[str] = Counter()
    for image in images:
        match = re.match(SERIES, image.path)
        if match and not image.group:
            series[match[1]] += 1
    (text,) = sentences(
        "workflow/images", dataset=dataset, images=len(images), series=series, pattern=SERIES
    )
    return text


def _ranges_of(backbone: str) -> Choices:
    """Return the ranges of a checkpoint for which those of `photos` are wrong."""
    file = shipped_file(QUICKSTART)
    if backbone != EMBEDDED or not file:
        return {}
    space = read_values(file)["search"]["space"]
    reason = "as in the quickstart: this small checkpoint wants larger steps than ViT-B"
    return {f"search.space.{key}": (value, reason) for key, value in space.items()}


def suited_to_machine() -> Choices:
    """Return the values that this machine decides."""
    device = choose_device()
    name = "this machine's CPU"
    backbone = "openai/clip-vit-base-patch32"
    reason = "fit for a CPU; openai/clip-vit-base-patch16 has four times the patches"
    choices: Choices = {}
    if device.type == "cuda":
        name = list_gpus()[0]
        backbone = "openai/clip-vit-base-patch16"
        reason = "the paper's; openai/clip-vit-base-patch32 is several times as fast"
        choices["resources.gpus_per_trial"] = (1, "0.25 lets four trials share a GPU")
    choices["backbone.name"] = (backbone, reason)
    precision = f"that is {choose_precision(device)} on {name}"
    choices["training.precision"] = ("auto", precision)
    return choices
