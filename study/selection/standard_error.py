"""The standard error of a trial's validation score, from its predictions of validation images."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from study.protocols import Protocol
from study.selection.validation import read_validation
from study.storage.study_folder import StudyFolder

DRAWS = 1_000
"""The number of sets of images that are drawn with replacement."""
_AT_ONCE = 2**22
"""The largest number of weights that are computed at a time, which take 8 bytes each."""
_AGREES = 1e-6
"""By how much a score may differ from the one that was reported, because of rounding."""

Floats = npt.NDArray[np.float64]


class _Block(NamedTuple):
    """The images of one part in one fold, and of one class where classes count alike."""

    part: str
    label: str
    """The name of the class; empty where classes do not count."""
    images: npt.NDArray[np.int64]
    """The number of each image among all images, (rows,); one image may be in several blocks."""
    right: Floats
    """Whether the trial is right, 1 or 0, (rows,)."""

    def accuracies(self, drawn: Floats) -> Floats:
        """Return the accuracy on sets of images; not a number where a set has none of the block's.

        Args:
            drawn: how often each set has each of all images, (sets, images).
        """
        counts = drawn[:, self.images]
        with np.errstate(invalid="ignore"):
            accuracies: Floats = counts @ self.right / counts.sum(axis=1)
        return accuracies


def standard_error(
    folder: StudyFolder, protocol: Protocol, trial_id: str, score: float
) -> float | None:
    """Return the standard error of a trial's validation score over other validation images.

    Args:
        folder: the study's folder.
        protocol: the study's protocol.
        trial_id: the id of the trial, which has finished.
        score: its validation score.

    Returns:
        None if it cannot be known: the trial kept no predictions, or the score does not follow from
        them.

    Raises:
        LedgerError: the trial's file is damaged.
    """
    table = read_validation(folder.trial(trial_id))
    if table is None:
        return None
    blocks = _blocks(table, protocol)
    images = 1 + max(int(block.images.max()) for block in blocks)
    (found,) = _scores(protocol, blocks, np.ones((1, images)))
    if not math.isclose(found, score, rel_tol=0.0, abs_tol=_AGREES):
        return None
    scores: list[float] = []
    for drawn in _draws(images):
        scores += _scores(protocol, blocks, drawn)
    return float(np.nanstd(scores))


def _blocks(table: pa.Table, protocol: Protocol) -> list[_Block]:
    frame = table.to_pandas()
    frame["right"] = frame["predicted"] == frame["label"]
    _, frame["image"] = np.unique(frame["path"], return_inverse=True)
    if not protocol.class_averaged:
        frame["label"] = ""
    return [
        _Block(part, label, block["image"].to_numpy(), block["right"].to_numpy(float))
        for (_, part, label), block in frame.groupby(["fold", "part", "label"], sort=False)
    ]


def _scores(protocol: Protocol, blocks: Sequence[_Block], drawn: Floats) -> list[float]:
    """Return the protocol's score on each set of images; not a number if the set lacks a part.

    Accuracies are averaged over folds, and those of classes that count alike after that.
    """
    folds = defaultdict(list)
    for block in blocks:
        folds[block.part, block.label].append(block.accuracies(drawn))
    classes = defaultdict(list)
    for (part, _), accuracies in folds.items():
        classes[part].append(_mean_of_known(accuracies))
    parts = {part: _mean_of_known(accuracies) for part, accuracies in classes.items()}
    scores = []
    for row in range(len(drawn)):
        accuracies_of_set = {part: float(values[row]) for part, values in parts.items()}
        scores.append(_score(protocol, accuracies_of_set))
    return scores


def _score(protocol: Protocol, accuracies: Mapping[str, float]) -> float:
    if any(math.isnan(accuracy) for accuracy in accuracies.values()):
        return math.nan
    return protocol.score(accuracies)["score"]


def _mean_of_known(arrays: Iterable[Floats]) -> Floats:
    """Return the mean over arrays where they are numbers; not a number where none is."""
    stacked = np.array(list(arrays))
    with np.errstate(invalid="ignore"):
        mean = np.nansum(stacked, axis=0) / np.isfinite(stacked).sum(axis=0)
    return mean


def _draws(images: int) -> Iterator[Floats]:
    """Yield how often each set has each image, (sets, images), `DRAWS` sets in all."""
    rng = np.random.default_rng(0)
    at_once = max(1, _AT_ONCE // images)
    for start in range(0, DRAWS, at_once):
        sets = min(at_once, DRAWS - start)
        yield rng.multinomial(images, np.full(images, 1 / images), size=sets).astype(float)
