"""The rows of the leaderboard: tested configurations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from study.config.trial_settings import HEADS, TrialSettings
from study.results.bootstrap import ResampledTests
from study.results.chance import ChanceComparison
from study.results.statistics import Intervals, MeanInterval, mean_intervals
from study.results.trial_results import TrialResult
from study.trial.predictions import BALANCED
from study.trial.study import BEST, Candidate


class ScoreNames(NamedTuple):
    """The names of the test scores that a study's tables show."""

    metric: str
    """The protocol's name of the score."""
    parts: tuple[str, ...]
    """The parts that the score is made of, such as ``base`` and ``new``; empty if it has none."""
    balanced: bool
    """Whether the `BALANCED` score is shown; it is not where the score itself is balanced."""
    datasets: tuple[str, ...]
    """The single datasets, where several are tested."""


@dataclass(frozen=True)
class Row:
    """A tested configuration; scores are fractions."""

    label: str
    """Its name in the study's folder."""
    labels: Sequence[str]
    """Its label, then those of candidates with the same configuration, not trained again."""
    settings: TrialSettings
    """What is tuned, and how fast."""
    trainable: int
    """The number of trainable parameters."""
    source_trial: str | None
    """The id of the search trial that it came from, if any."""
    val_score: float | None
    """The validation score by which candidates were ranked."""
    test_trial_count: int
    """The number of its test trials that were started, scored or not."""
    means: Intervals
    """The means of its test scores by name, without those that no trial has.

    They are the protocol's ``score``, its parts, the score with each head (``score_text``), the
    `BALANCED` one, and those of `ScoreNames`. Where several datasets are tested, ``score`` is their
    mean, in the transfer protocol without the source.
    """
    against_chance: ChanceComparison | None
    """The `BALANCED` score compared with guessing; None if no trial kept its predictions."""

    @property
    def test(self) -> MeanInterval:
        """The protocol's score on test."""
        return self.means["score"]

    @property
    def is_best_by_validation(self) -> bool:
        """Whether validation ranked it first; no test score takes part in that."""
        return BEST in self.labels

    @property
    def is_best(self) -> bool:
        """Whether it is the best configuration: first by validation, and above chance on test."""
        return self.is_best_by_validation and self.above_chance

    @property
    def above_chance(self) -> bool:
        """Whether the mean balanced score is above chance; True if it is not known."""
        return self.against_chance is None or self.against_chance.above


def make_row(
    candidates: Sequence[Candidate],
    trials: Sequence[TrialResult],
    *,
    resampled: ResampledTests,
    names: ScoreNames,
    chance: float | None,
) -> Row:
    """Summarize the tests of a configuration, at least one of which has a score.

    Args:
        candidates: those that have the configuration; the first one names it.
        trials: its test trials, one a seed, scored or not.
        resampled: the scores of the study's tests on resampled test images.
        names: the names of the study's scores.
        chance: the balanced test score of guessing.
    """
    tested = [trial for trial in trials if trial.test_score is not None]
    heads = [f"score_{head}" for head in HEADS]
    shown = ("score", BALANCED, *heads, *names.parts, *names.datasets)
    means = mean_intervals(resampled, tested, shown)
    balanced = means.get(BALANCED)
    against_chance = None
    if balanced and chance is not None:
        images = next(trial.confusion.total() for trial in tested if trial.confusion)
        # An interval over seeds alone states nothing of other test images.
        low = balanced.low if balanced.images else None
        against_chance = ChanceComparison(balanced.mean, chance, images, low)
    first = candidates[0]
    return Row(
        label=first.label,
        labels=[candidate.label for candidate in candidates],
        settings=first.settings,
        trainable=tested[0].trainable,
        source_trial=first.source_trial,
        val_score=first.val_score,
        test_trial_count=len(trials),
        means=means,
        against_chance=against_chance,
    )
