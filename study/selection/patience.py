"""The end of a search whose next trials promise less than validation can tell apart.

The threshold is the noise of validation, as in Makarova et al. 2022, "Automatic termination for
hyperparameter optimization", arXiv 2104.08166. Their gain is that of a Gaussian process. Here it
needs no model: the best of fewer trials is known from the scores of more, as in Dodge et al. 2019,
"Show your work", arXiv 1909.03004.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from study.storage.study_folder import PATIENCE, StudyFolder

NEXT_TRIALS = 10
"""The number of trials whose gain is expected."""
SHARE = 0.1
"""The share of the standard error of the best score that is worth these trials."""


@dataclass(frozen=True)
class SearchEnd:
    """What ended a search; scores are fractions."""

    trials: int
    """The number of trials that had ended."""
    gain: float
    """By how much the next `NEXT_TRIALS` were expected to raise the best score."""
    error: float
    """The standard error of the best score over other validation images."""

    @property
    def sentence(self) -> str:
        """Why the search ended."""
        return (
            f"the search ended early, after {self.trials} trials: the next {NEXT_TRIALS} were "
            f"expected to raise the best validation score by {100 * self.gain:.2f} points, less "
            f"than a tenth of its standard error of {100 * self.error:.1f} (search.patience)"
        )


def expected_gain(scores: Iterable[float], trials: int, following: int = NEXT_TRIALS) -> float:
    """Return by how much the best score is expected to rise with the next trials, a fraction.

    These are taken to be like those so far: it is by how much the last of the trials raise the best
    score, as the mean over all orders in which the trials could have come.

    Args:
        scores: the scores of the trials that finished, as fractions.
        trials: the number of trials with those that were stopped early, which raise nothing.
        following: the number of next trials. With no more than that so far, the best score is all
            that they gave, so the gain is at least that.
    """
    gain = 0.0
    all_last = 1.0  # the probability that all trials from the best to this one come last
    for place, (score, next_best) in enumerate(pairwise([*sorted(scores, reverse=True), 0.0])):
        all_last *= (following - place) / (trials - place)
        gain += all_last * (score - next_best)
    return gain


@dataclass
class Patience:
    """The trials of a search so far, and whether it is worth to go on.

    Args:
        folder: the study's folder, where the end is recorded.
        standard_error: a function that returns the standard error of the score of a finished trial,
            by its id, a fraction; None means that it is not known, and the search goes on.
    """

    folder: StudyFolder
    standard_error: Callable[[str, float], float | None]
    _trials: int = 0
    _open_trials: int = 0
    _scores: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = read_search_end(self.folder)

    def add(self, trial_id: str, arm: str, score: float | None) -> None:
        """Count a trial that ended.

        Args:
            trial_id: the id of the trial.
            arm: who proposed it.
            score: its score, a fraction; None if it was stopped early.
        """
        self._trials += 1
        self._open_trials += arm == "search"
        if score is not None:
            self._scores[trial_id] = score

    def has_ended(self) -> bool:
        """Return whether the search ends, and record it; it then has ended for good.

        It does not end before `NEXT_TRIALS` trials were free to choose what they tune, since those
        before say nothing of them.
        """
        if self._end is None and self._scores and self._open_trials >= NEXT_TRIALS:
            gain = expected_gain(self._scores.values(), self._trials)
            best = max(self._scores, key=self._scores.__getitem__)
            error = self.standard_error(best, self._scores[best])
            if error is not None and gain < SHARE * error:
                self._end = SearchEnd(self._trials, gain, error)
                self.folder.write_json(PATIENCE, self._end)
        return self._end is not None


def read_search_end(folder: StudyFolder) -> SearchEnd | None:
    """Return what ended a search before it had all its trials; None if nothing did.

    Raises:
        LedgerError: the file is damaged.
    """
    return folder.read_json(PATIENCE, SearchEnd)
