"""The tests of a study on resampled test images, which all its intervals over images come from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from study.config.trial_settings import HEADS
from study.protocols import Protocol
from study.results.bootstrap import (
    DrawnScores,
    Rescored,
    RescoredTrials,
    Trial,
    rescore,
)
from study.results.chance import BALANCED
from study.results.trial_results import TrialResult
from study.trial.predictions import Outcomes


class ResampledTests(NamedTuple):
    """The scores of trials on resampled test images.

    Trials that were tested on the same images are scored on the same sets of them.
    """

    images: Mapping[Trial, str]
    """The hash of the images that a trial was tested on, by its label and seed."""
    scores: RescoredTrials
    """The scores on sets of images, by label and seed, and by name."""
    overlap: float | None = None
    """The mean share of training images that two seeds have in common; None if it is not known."""
    single_image_class: bool = False
    """Whether a class has a single image, so that averages over classes have no variance."""

    def drawn(
        self, label: str, less: str | None, seeds: Iterable[int], name: str = "score"
    ) -> DrawnScores | None:
        """Return the score of each seed on resampled test images, or a difference of two.

        Args:
            label: the label of the trials.
            less: the label of those that are subtracted; None if the score stands alone.
            seeds: the seeds.
            name: the name of the score.

        Returns:
            A column a seed; None unless all these trials have the score on the same images.
        """
        trials = [(one, seed) for seed in seeds for one in (label, less) if one is not None]
        rescored = [self.scores.get(trial, {}).get(name) for trial in trials]
        found = [one for one in rescored if one is not None]
        if len(found) < len(rescored) or len({self.images[trial] for trial in trials}) != 1:
            return None
        columns = [one.alone for one in found]
        if less is not None:
            pairs = zip(found[::2], found[1::2], strict=True)
            columns = [one.minuend - other.subtrahend for one, other in pairs]
        return DrawnScores(np.stack(columns, axis=1), min(one.df for one in found))


def resample_tests(
    tested: Iterable[TrialResult], protocol: Protocol, *, overlap: float | None = None
) -> ResampledTests:
    """Score trials on sets of their test images that are drawn with replacement.

    Each part of the test images is drawn by itself, as is each class if the protocol averages over
    classes.

    Args:
        tested: trials; those without `outcomes` are left out.
        protocol: the protocol, which makes a score of accuracies.
        overlap: see `ResampledTests.overlap`.
    """
    tested = list(tested)
    outcomes = {(t.label, t.seed): t.outcomes for t in tested if t.outcomes}
    scores: RescoredTrials = {}
    single_image_class = False
    for images in dict.fromkeys(outcome.images for outcome in outcomes.values()):
        on_images = {t: outcome for t, outcome in outcomes.items() if outcome.images == images}
        plain = rescore(on_images, protocol)
        balanced = rescore(on_images, protocol, balanced=True)
        if not plain or not balanced:
            single_image_class = True
        for trial in on_images:
            scores[trial] = plain.get(trial, {})
            if trial in balanced:
                scores[trial][BALANCED] = balanced[trial]["score"]
    for trial, name, rescored in _rescore_heads(tested, scores, protocol):
        scores[trial][name] = rescored
    images_of = {trial: outcome.images for trial, outcome in outcomes.items()}
    return ResampledTests(images_of, scores, overlap, single_image_class)


def _rescore_heads(
    tested: Sequence[TrialResult], scores: RescoredTrials, protocol: Protocol
) -> Iterator[tuple[Trial, str, Rescored]]:
    """Yield the score with each head, of trials that were scored with several.

    Args:
        tested: the trials.
        scores: their scores with the head that each is used with.
        protocol: the protocol, which makes a score of accuracies.
    """
    for head in HEADS:
        others: dict[str, dict[Trial, Outcomes]] = defaultdict(dict)
        for one in tested:
            trial = one.label, one.seed
            if head in one.other_outcomes:
                others[one.other_outcomes[head].images][trial] = one.other_outcomes[head]
            elif one.other_outcomes and "score" in scores.get(trial, {}):
                yield trial, f"score_{head}", scores[trial]["score"]
        for on_images in others.values():
            for trial, names in rescore(on_images, protocol).items():
                if trial in scores and "score" in names:
                    yield trial, f"score_{head}", names["score"]
