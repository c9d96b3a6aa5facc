"""The images that tested trials were trained on, and how many of them their seeds share."""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from statistics import fmean

from study.data.records import result_names
from study.storage.study_folder import StudyFolder

_TRAIN_LINE = '"part":"train"'
"""The text that marks the lines of training images, as opposed to test images."""


def read_training_images(folder: StudyFolder, split_hash: str | None) -> Mapping[str, str] | None:
    """Return the class name of each training image of a split, by path, as results name classes.

    Returns:
        None where the study's record of the split is missing or damaged.
    """
    digest = split_hash or ""
    if not re.fullmatch("[0-9a-f]+", digest):
        return None
    contents = folder.read(f"shots/tasks-{digest}.jsonl") or b""
    try:
        head, *lines = contents.decode().splitlines()
        names = dict(enumerate(result_names([*map(str, json.loads(head)["class_names"])])))
        images = [json.loads(line) for line in lines if _TRAIN_LINE in line]
        return {image["path"]: names[image["label"]] for image in images if "label" in image}
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
    trained = [read_training_images(folder, digest) for digest in split_hashes]
    if len(trained) < 2:
        return None
    shares = []
    for first, second in combinations(trained, 2):
        if not first or not second:
            return None
        shares.append(2 * len(first.keys() & second.keys()) / (len(first) + len(second)))
    return fmean(shares)
