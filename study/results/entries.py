"""The configurations of a study over their seeds, and the candidates that were tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from study.config.labels import BASELINE, PUBLISHED, TUNED
from study.config.trial_settings import HEADS, Head, TrialSettings
from study.results.chance import BALANCED, AgainstChance
from study.results.intervals import Intervals, MeanInterval
from study.results.resampling import Resampled
from study.results.statistics import SeedScores
from study.results.study_results import Results
from study.results.trial_results import (
    BASE_PART,
    first_chance,
    seed_scores,
)
from study.trial.predictions import beats_chance
from study.trial.study import BEST, Candidate, candidate_of_label

REFERENCES = (TUNED, PUBLISHED)
"""The labels of the baselines that every candidate is compared with in tables."""


@dataclass(frozen=True)
class Configuration:
    """One configuration over its seeds; scores are fractions."""

    label: str
    """Its name in the ledger."""
    settings: TrialSettings
    """What is tuned, and how fast."""
    trainable: int
    """The number of trainable parameters."""
    scores: SeedScores
    """The protocol's score of each seed."""
    parts: Intervals
    """The accuracy on each part of the images; empty if the score has no parts."""


@dataclass(frozen=True)
class Entry(Configuration):
    """A candidate of the leaderboard, with its scores on test."""

    labels: Sequence[str]
    """Its label, then those of candidates with the same configuration, not trained again."""
    is_baseline: bool
    """Whether the search of subsets and rates was to beat the candidate.

    Such are the configurations that a search trains as they are given, CLIPFit as published, and
    tuned CLIPFit, although its rates come from a search of their own. In a study without a search
    only the two CLIPFits are baselines, and no other configuration that is tested as given.
    """
    is_peer: bool
    """Whether it adapts CLIP in another way than by tuning its biases and LayerNorms."""
    is_chosen: bool
    """Whether validation chose the candidate; no test score takes part in the choice.

    Test images were not read before it, unless the study was extended after an earlier choice had
    been tested; see `Results.earlier_trial_counts`.
    """
    test_trial_count: int
    """The number of the candidate's test trials that were started, scored or not."""
    test: MeanInterval
    """The protocol's score on test."""
    further_scores: Intervals
    """The further test scores that tables show, by name; see `Results.further_names`."""
    head_scores: Mapping[Head, float]
    """The mean test score with each head that was scored, a fraction."""
    dataset_scores: Intervals
    """The accuracy on each dataset, where several are tested; else empty.

    `test` is then their mean, in the transfer protocol without the source.
    """
    chance: float | None
    """The balanced test score of guessing; None if no trial kept class counts."""
    balanced: MeanInterval | None
    """The test score made of the mean recall of classes in place of the accuracy.

    It is the score to compare with `chance`. None if no trial kept class counts.
    """
    images: int | None
    """The number of test images that each seed was tested on; None if no predictions were kept."""
    source_trial: str | None
    """The id of the search trial that the candidate came from, if any."""
    val_score: float | None
    """The validation score by which candidates were ranked."""
    val_base: float | None
    """The source trial's accuracy on validation images of base classes."""

    @property
    def above_chance(self) -> bool:
        """Whether the mean balanced score is above chance; True if it is not known."""
        return self.balanced is None or beats_chance(self.balanced.mean, self.chance)

    @property
    def against_chance(self) -> AgainstChance | None:
        """The balanced score compared with chance; None if no predictions were kept."""
        if self.balanced is None or self.chance is None or self.images is None:
            return None
        low = self.balanced.low
        if self.balanced.images is None:
            # An interval over seeds alone says nothing of other test images.
            low = None
        return AgainstChance(self.balanced.mean, self.chance, self.images, low)

    @property
    def is_winner(self) -> bool:
        """Whether validation chose the candidate and its test score is above chance."""
        return self.is_chosen and self.above_chance


def make_entry(labels: Sequence[str], results: Results, resampled: Resampled) -> Entry:
    """Collect the scores of a candidate that has at least one test score.

    Args:
        labels: its label, then those of candidates with the same configuration.
        results: the results of the study.
        resampled: the scores of the tests on resampled test images.
    """
    label = labels[0]
    tested = results.tested_trials(label)
    candidate = candidate_of_label(results.candidates, label)
    if not candidate:  # their file is lost
        candidate = Candidate(label=label, settings=tested[0].settings, training=label, choice=0)
    baselines = {trial.label for trial in results.trials if trial.group == BASELINE}
    baselines.update(REFERENCES)
    val_base = None
    for trial in results.trials:
        if trial.trial_id == candidate.source_trial:
            val_base = trial.val.get(BASE_PART)
    main_scores = resampled.mean_intervals(tested, ("score", BALANCED))
    heads = {head: seed_scores(tested, f"score_{head}") for head in HEADS}
    return Entry(
        label=label,
        labels=labels,
        is_baseline=not baselines.isdisjoint(labels),
        is_peer=candidate.settings.is_peer,
        is_chosen=BEST in labels,
        scores=seed_scores(tested),
        test_trial_count=len(results.test_trials(label)),
        test=main_scores["score"],
        parts=resampled.mean_intervals(tested, results.parts),
        further_scores=resampled.mean_intervals(tested, results.further_names),
        head_scores={head: fmean(scores.values()) for head, scores in heads.items() if scores},
        dataset_scores=resampled.mean_intervals(tested, results.tested_datasets),
        chance=first_chance(tested),
        balanced=main_scores.get(BALANCED),
        images=next((t.confusion.total() for t in tested if t.confusion), None),
        settings=candidate.settings,
        trainable=tested[0].trainable,
        source_trial=candidate.source_trial,
        val_score=candidate.val_score,
        val_base=val_base,
    )
