"""The images that tested trials were trained on, and how many of them their seeds share."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from study.data.records import Record, result_names
from study.storage.study_folder import StudyFolder

_TRAIN_LINE = '"part":"train"'
"""The text that marks the lines of training images, as opposed to test images."""


class TrainingImages(NamedTuple):
    """The training images of a split, from the study's record of it."""

    class_names: Sequence[str]
    """The names that all classes have in results, by label."""
    records: Sequence[Record]
    """The training images."""


def read_training_images(folder: StudyFolder, split_hash: str | None) -> TrainingImages | None:
    """Return the training images of a split; None where the record is missing or damaged."""
    digest = split_hash or ""
    if not re.fullmatch("[0-9a-f]+", digest):
        return None
    contents = folder.read(f"shots/tasks-{digest}.jsonl") or b""
    try:
        head, *lines = contents.decode().splitlines()
        names = [str(name) for name in json.loads(head)["class_names"]]
        images = []
        for line in lines:
            if _TRAIN_LINE in line:
                image = json.loads(line)
                if "label" in image:
                    images.append(Record(image["path"], image["label"]))
        if any(image.label not in range(len(names)) for image in images):
            return None
        return TrainingImages(result_names(names), images)
    except (ValueError, LookupError, TypeError):
        return None


def training_overlap(folder: StudyFolder, split_hashes: Iterable[str | None]) -> float | None:
    """Return the mean share of training images that two seeds of a study have in common.

    Args:
        folder: the study's folder.
        split_hashes: the split hash of each seed.

    Returns:
        A fraction, averaged over pairs of seeds; None for fewer than two seeds, or where no record
        says what was trained on.
    """
    trained = []
    for digest in split_hashes:
        images = read_training_images(folder, digest)
        if not images or not images.records:
            return None
        trained.append({record.path for record in images.records})
    if len(trained) < 2:
        return None
    shares = []
    for first, second in combinations(trained, 2):
        shares.append(2 * len(first & second) / (len(first) + len(second)))
    return fmean(shares)
