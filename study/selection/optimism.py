"""The optimism of the best validation score: how far it is above the score to expect.

The best of many trials is in part the luckiest, so that its own score is too high. BBC-CV measures
by how much, without training anything: it draws validation images with replacement, takes the trial
that is best on them, and scores it on the images that were not drawn. The mean over many draws is
the score to expect. Source: Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation".
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from study.protocols import Protocol
from study.selection.ranking import Judged, rank_finished_trials
from study.selection.validation import read_validation
from study.storage.study_folder import OPTIMISM, StudyFolder
from study.trial.study import Study

DRAWS = 1_000
"""The number of drawn sets of images; an expected score is then known to about 0.1 points."""
_AT_ONCE = 2**22
"""The largest number of weights that are computed at a time, which take 8 bytes each."""
_AGREES = 1e-6
"""By how much a score may differ from the one that was reported, because of rounding."""
_DECIMALS = 12
"""Scores are rounded, so that equal ones are equal numbers; see `study.trial.predictions.mean`."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Optimism:
    """The validation score of the best trial, and the one to expect; scores are fractions."""

    trials: int
    """The number of finished trials that the best was chosen among."""
    best: float
    """The score of the best."""
    expected: float
    """Its mean score on images that had no part in the choice."""
    errors: Mapping[str, float]
    """The standard error of each trial's score over other validation images, by its id."""

    @property
    def remark(self) -> str:
        """The remark behind the validation score of the best, wherever that is printed."""
        if self.best >= 1:
            return f"the best of {self.trials}; with no image wrong, its luck cannot be told"
        return f"the best of {self.trials}; expect about {100 * self.expected:.0f} %"

    def remark_on(self, score: float | None) -> str:
        """Return `remark` after a comma if a score is that of the best, else an empty text."""
        if score is None or not math.isclose(score, self.best, abs_tol=_AGREES):
            return ""
        return f", {self.remark}"


class _Block(NamedTuple):
    """The images of one part in one fold, and of one class where classes count alike."""

    part: str
    label: str
    """The name of the class; empty where classes do not count."""
    images: npt.NDArray[np.int64]
    """The number of each image among all images, (rows,); one image may be in several blocks."""
    right: Floats
    """Whether each trial is right, 1 or 0, (trials, rows)."""

    def accuracies(self, drawn: Floats) -> Floats:
        """Return the accuracy of each trial on sets of images, (sets, trials).

        It is not a number where a set has none of the block's images.

        Args:
            drawn: how often each set has each of all images, (sets, images).
        """
        counts = drawn[:, self.images]
        weights = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        with np.errstate(invalid="ignore"):
            return (weights / weights.sum(axis=1, keepdims=True)) @ self.right.T


def _mean_of_known(arrays: Iterable[Floats]) -> Floats:
    """Return the mean over arrays where they are numbers; not a number where none is."""
    stacked = np.array([*arrays])
    with np.errstate(invalid="ignore"):
        mean = np.nansum(stacked, axis=0) / np.isfinite(stacked).sum(axis=0)
    return mean


class _Outcomes(NamedTuple):
    """The images that finished trials get right, among the same validation images."""

    protocol: Protocol
    blocks: Sequence[_Block]
    images: int
    """The number of different images."""

    def parts(self, drawn: Floats) -> dict[str, Floats]:
        """Return the accuracy of each trial in each part, averaged over folds, (sets, trials).

        Classes that count alike are averaged after the folds. It is not a number where a set has no
        image of a part.
        """
        folds = defaultdict(list)
        for block in self.blocks:
            folds[block.part, block.label].append(block.accuracies(drawn))
        classes = defaultdict(list)
        for (part, _), accuracies in folds.items():
            classes[part].append(_mean_of_known(accuracies))
        return {part: _mean_of_known(accuracies) for part, accuracies in classes.items()}

    def score(self, parts: Mapping[str, Floats], row: int, trial: int) -> float:
        """Return the protocol's score of one trial on one set of images; NaN if a part lacks one.

        Args:
            parts: the result of `parts`.
            row: the number of the set.
            trial: the number of the trial.
        """
        accuracies = {part: float(values[row, trial]) for part, values in parts.items()}
        if any(math.isnan(accuracy) for accuracy in accuracies.values()):
            return math.nan
        return round(self.protocol.score(accuracies)["score"], _DECIMALS)


def read_optimism(folder: StudyFolder) -> Optimism | None:
    """Return the optimism that `fix_optimism` wrote; None if it has written nothing.

    Raises:
        LedgerError: the file is damaged.
    """
    return folder.read_json(OPTIMISM, Optimism)


def fix_optimism(study: Study) -> None:
    """Write the optimism of a study, unless it is written already or cannot be known.

    See `optimism_of`.

    Raises:
        LedgerError: a file of a trial is damaged.
    """
    if read_optimism(study.folder):
        return
    optimism = optimism_of(study.folder, study.protocol)
    if optimism:
        study.folder.write_json(OPTIMISM, optimism)


def optimism_of(folder: StudyFolder, protocol: Protocol) -> Optimism | None:
    """Return the best validation score of a study, and the score to expect in its place.

    Args:
        folder: the study's folder.
        protocol: the study's protocol.

    Returns:
        None if fewer than two trials have finished, or if it cannot be known: a trial kept no
        predictions of validation images, or the protocol's score does not follow from them.

    Raises:
        LedgerError: a file of a trial is damaged.
    """
    judged = rank_finished_trials(folder)
    if len(judged) < 2:
        return None
    scores = {trial.config.trial_id: trial.val_score for trial in judged}
    outcomes = _read_outcomes(folder, protocol, scores)
    if not outcomes:
        return None
    return _optimism(outcomes, judged)


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
        None if it cannot be known, see `optimism_of`.

    Raises:
        LedgerError: the trial's file is damaged.
    """
    outcomes = _read_outcomes(folder, protocol, {trial_id: score})
    if not outcomes:
        return None
    scores = []
    for drawn in _draws(outcomes.images):
        parts = outcomes.parts(drawn)
        scores += [outcomes.score(parts, row, 0) for row in range(len(drawn))]
    return float(np.nanstd(scores))


def _read_outcomes(
    folder: StudyFolder, protocol: Protocol, scores: Mapping[str, float]
) -> _Outcomes | None:
    """Return the outcomes of trials; None unless they give the scores that the trials reported.

    Args:
        folder: the study's folder.
        protocol: the study's protocol.
        scores: the reported scores, by the ids of the trials.
    """
    tables = []
    for trial_id in scores:
        table = read_validation(folder.trial(trial_id))
        if table is None:
            return None
        tables.append(table)
    outcomes = _outcomes(tables, protocol)
    if not outcomes:
        return None
    parts = outcomes.parts(np.ones((1, outcomes.images)))
    found = [outcomes.score(parts, 0, trial) for trial in range(len(tables))]
    if np.allclose(found, list(scores.values()), rtol=0.0, atol=_AGREES):
        return outcomes
    return None


def _outcomes(tables: Sequence[pa.Table], protocol: Protocol) -> _Outcomes | None:
    """Return the outcomes of trials; None if they were not validated on the same images."""
    image_columns = ["fold", "part", "path", "label"]
    rows = tables[0].select(image_columns)
    if any(not table.select(image_columns).equals(rows) for table in tables):
        return None
    labels = np.array(rows["label"].to_pylist())
    _, images = np.unique(rows["path"].to_pylist(), return_inverse=True)
    right = np.array([np.array(table["predicted"].to_pylist()) == labels for table in tables])
    frame = rows.to_pandas()
    if not protocol.class_averaged:
        frame["label"] = ""
    blocks = []
    for (_, part, label), block in frame.groupby(["fold", "part", "label"], sort=False):
        numbers = block.index.to_numpy()
        blocks.append(_Block(part, label, images[numbers], right[:, numbers].astype(float)))
    return _Outcomes(protocol, blocks, int(images.max()) + 1)


def _optimism(outcomes: _Outcomes, judged: Sequence[Judged]) -> Optimism | None:
    """Draw images, take the best trial on them, and score it on the images that were not drawn.

    Args:
        outcomes: what the trials get right.
        judged: the trials, the best first.

    Returns:
        None if no draw left out images of every part.
    """
    ties = sorted(range(len(judged)), key=lambda trial: judged[trial].sort_key[1:])
    scores = []
    left_out = []
    for drawn in _draws(outcomes.images):
        inside = outcomes.parts(drawn)
        outside = outcomes.parts((drawn == 0).astype(float))
        for row in range(len(drawn)):
            scores_of_set = [outcomes.score(inside, row, trial) for trial in range(len(judged))]
            if math.isnan(scores_of_set[0]):  # the set lacks a part, whatever the trial
                continue
            scores.append(scores_of_set)
            best = max(ties, key=scores_of_set.__getitem__)  # of equal scores the first of `ties`
            score = outcomes.score(outside, row, best)
            if not math.isnan(score):
                left_out.append(score)
    if not left_out:
        return None
    errors = {
        trial.config.trial_id: float(error)
        for trial, error in zip(judged, np.std(scores, axis=0), strict=True)
    }
    return Optimism(
        trials=len(judged),
        best=judged[0].val_score,
        expected=float(np.mean(left_out)),
        errors=errors,
    )


def _draws(images: int) -> Iterator[Floats]:
    """Yield how often each set has each image, (sets, images), `DRAWS` sets in all."""
    rng = np.random.default_rng(0)
    at_once = max(1, _AT_ONCE // images)
    for start in range(0, DRAWS, at_once):
        sets = min(at_once, DRAWS - start)
        yield rng.multinomial(images, np.full(images, 1 / images), size=sets).astype(float)
