"""The results of the confirm stage: candidates on test, and the differences between them.

Nothing is selected here: the winner is the candidate that validation chose before test images were
read, unless its test score is no better than guessing. Two comparisons of it are fixed beforehand,
and tested; all other differences are described only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from study.config.labels import SMALLEST, TUNED, WITH_DELTA
from study.config.trial_settings import TrialSettings
from study.results.intervals import MeanInterval
from study.results.resampling import Resampled, resample
from study.results.shared_test import count_other_readers
from study.results.statistics import (
    Comparison,
    PairedDifference,
    RankAgreement,
    Regret,
    make_comparisons,
    rank_agreement,
    regret,
)
from study.results.study_results import PARTS, Results, TrialResult
from study.selection.chance import BALANCED, AgainstChance
from study.trial import Split
from study.trial.predictions import Outcomes, beats_chance
from study.trial.study import BEST, Candidate

PUBLISHED = "clipfit"
"""The label of CLIPFit as published."""
REFERENCES = (TUNED, PUBLISHED)
"""The labels of the baselines to which every candidate's difference is shown."""
CLOSE_TO_BEST = 0.02
"""How far below the best by validation candidates count as close to it, a fraction.

A correlation over all is large where some candidate, such as CLIP as it is, is far below the rest.
"""
_ROUNDING = 1e-9
TRIAL_STATES = ("finished", "stopped", "failed", "running")
"""How a trial may have ended, or not yet."""


@dataclass(frozen=True)
class Configuration:
    """One configuration over its seeds; scores are fractions."""

    label: str
    """Its name in the ledger."""
    settings: TrialSettings
    """What is tuned, and how fast."""
    trainable: int
    """The number of trainable parameters."""
    scores: Mapping[int, float]
    """The protocol's score of each seed."""
    parts: Mapping[str, MeanInterval]
    """The accuracy on each part of the images; empty if the score has no parts."""


@dataclass(frozen=True)
class Entry(Configuration):
    """One confirmed candidate, with its scores on test."""

    labels: tuple[str, ...]
    """Its label, then those of candidates with the same configuration, not trained again."""
    is_baseline: bool
    """Whether the candidate is a baseline, and not a result of the search."""
    is_peer: bool
    """Whether it adapts CLIP in another way than by tuning its biases and LayerNorms."""
    is_chosen: bool
    """Whether validation chose the candidate, before any test image was read."""
    seeds_planned: int
    """The number of the candidate's confirm trials, with or without a test score."""
    test: MeanInterval
    """The protocol's score on test."""
    further_scores: Mapping[str, MeanInterval]
    """The further scores that tables show beside it, by name; see `Results.further_names`."""
    dataset_scores: Mapping[str, MeanInterval]
    """The accuracy on each dataset, where several are tested; else empty.

    `test` is then their mean, in the transfer protocol without the source.
    """
    chance: float | None
    """The balanced test score of guessing; None if no trial kept class counts."""
    balanced: MeanInterval | None
    """The test score with the mean recall of classes for the accuracy, which chance is that of."""
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
        """Whether the mean balanced score is above chance."""
        return self.balanced is None or beats_chance(self.balanced.mean, self.chance)

    @property
    def against_chance(self) -> AgainstChance | None:
        """What its balanced score is beside chance; None where no predictions were kept."""
        if self.balanced is None or self.chance is None or self.images is None:
            return None
        # An interval over seeds alone says nothing of other test images.
        low = self.balanced.low if self.balanced.images is not None else None
        return AgainstChance(self.balanced.mean, self.chance, self.images, low)

    @property
    def is_winner(self) -> bool:
        """Whether validation chose the candidate and its test score is above chance."""
        return self.is_chosen and self.above_chance


@dataclass(frozen=True)
class ValidationCheck:
    """How well validation ranked what was tested."""

    agreement: RankAgreement | None
    """The rank correlation of the candidates' validation scores and mean test scores."""
    close: RankAgreement | None
    """The same of those whose validation score is at most `CLOSE_TO_BEST` below the best."""
    ranked: int
    """The number of candidates with a validation score."""
    ranked_close: int
    """How many of them are at most `CLOSE_TO_BEST` below the best."""
    regret: Regret | None
    """The test score that picking a candidate by validation lost."""
    base_pick: str | None
    """The label of the candidate with the highest validation accuracy on base classes."""
    base_pick_trial: str | None
    """The search trial with the highest validation accuracy on base classes.

    None when a candidate has as high an accuracy; else the trial's test score is unknown.
    """


@dataclass(frozen=True)
class Leaderboard(Results):
    """The results of a study, with the comparison of its confirmed candidates."""

    entries: tuple[Entry, ...]
    """The candidates with at least one test score, best mean first."""
    untested: tuple[str, ...]
    """The labels of candidates without any test score."""
    failures: tuple[TrialResult, ...]
    """The failed trials of all stages."""
    resampled: Resampled
    """The scores of the confirmations on test images that were drawn again."""

    @cached_property
    def arm_budgets(self) -> tuple[Any, ...]:
        """What each `arm` of the search spent, in the order of their names.

        A row has the number of its `trials`, the number of those in each of the `TRIAL_STATES`, and
        the `epochs` and `seconds` of all of them together.
        """
        trials = pd.DataFrame(
            [(t.arm, t.status, t.epochs, t.seconds or 0.0) for t in self.stage("search")],
            columns=["arm", "status", "epochs", "seconds"],
        )
        ended = pd.crosstab(trials["arm"], trials["status"]).reindex(
            columns=TRIAL_STATES, fill_value=0
        )
        spent = trials.groupby("arm").agg(
            trials=("status", "size"), epochs=("epochs", "sum"), seconds=("seconds", "sum")
        )
        return tuple(spent.join(ended).reset_index().itertuples(name="ArmBudget", index=False))

    @cached_property
    def validation_check(self) -> ValidationCheck:
        """How well validation ranked the candidates."""
        # Of equal validation scores the first counts as picked, so the chosen one comes first.
        ranked = sorted(self.entries, key=lambda entry: not entry.is_chosen)
        validation = {e.label: e.val_score for e in ranked if e.val_score is not None}
        test = {entry.label: entry.test.mean for entry in ranked if entry.label in validation}
        lowest = max(validation.values(), default=0.0) - CLOSE_TO_BEST - _ROUNDING
        close = [label for label, score in validation.items() if score >= lowest]
        candidates = {e.label: e.val_base for e in self.entries if e.val_base is not None}
        trials = {
            trial.trial_id: base
            for trial in self.stage("search")
            if trial.status == "finished" and (base := trial.val.get(PARTS[0])) is not None
        }
        pick, trial = (max(by, key=by.__getitem__, default=None) for by in (candidates, trials))
        confirmed = pick is not None and trial is not None and candidates[pick] >= trials[trial]
        return ValidationCheck(
            agreement=rank_agreement(list(validation.values()), list(test.values())),
            close=rank_agreement([validation[n] for n in close], [test[n] for n in close]),
            ranked=len(validation),
            ranked_close=len(close),
            regret=regret(validation, test),
            base_pick=pick,
            base_pick_trial=None if confirmed else trial,
        )

    @property
    def chance(self) -> float | None:
        """The balanced test score of guessing; the same for all candidates."""
        return next((entry.chance for entry in self.entries if entry.chance is not None), None)

    @property
    def chosen(self) -> Entry | None:
        """The candidate that validation chose, which need not be the first entry."""
        return next((entry for entry in self.entries if entry.is_chosen), None)

    @property
    def winner(self) -> Entry | None:
        """The chosen candidate if its test score is above chance, else None."""
        return next((entry for entry in self.entries if entry.is_winner), None)

    @property
    def top_peer(self) -> str | None:
        """The label of the peer that validation ranks best; None without a validated one."""
        scores = {c.label: c.val_score for c in self.candidates if c.settings.is_peer}
        known = {label: score for label, score in scores.items() if score is not None}
        return max(known, key=known.__getitem__, default=None)

    @cached_property
    def planned_comparisons(self) -> Mapping[str, Comparison]:
        """The comparisons of the winner that are fixed beforehand, by the other's label.

        The other is tuned CLIPFit, and the peer that validation ranks best. There is none of the
        winner with itself or with what has no score, and Holm corrects for those that there are.
        """
        winner, labels = self.winner, (TUNED, *([self.top_peer] if self.top_peer else ()))
        paired = {
            label: difference
            for label in labels
            if winner and (difference := self.difference(winner, self.find_entry(label)))
        }
        return make_comparisons(paired)

    def trial_states(self, arm: str) -> list[str]:
        """Return how each trial of an arm of the search ended, one of `TRIAL_STATES` each."""
        return [trial.status for trial in self.stage("search") if trial.arm == arm]

    @property
    def smallest_near_best(self) -> Entry | None:
        """The smallest candidate within one standard error of the best by validation, if tested."""
        return self.find_entry(SMALLEST)

    @property
    def best_with_delta(self) -> Entry | None:
        """The winner or, where that writes no delta, the best candidate by validation that does."""
        return self.winner and (self.find_entry(WITH_DELTA) or self.winner)

    @property
    def searched(self) -> bool:
        """Whether there was a search to choose from."""
        return bool(self.stage("search"))

    @property
    def scored_datasets(self) -> tuple[str, ...]:
        """The names of the datasets with a score, where several are tested; else empty."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.dataset_scores))

    @cached_property
    def other_readers(self) -> int:
        """How many other studies of the storage were tested on images of this one's test."""
        return count_other_readers(self)

    def find_entry(self, label: str) -> Entry | None:
        """Return the candidate that has this label, if there is one."""
        return next((e for e in self.entries if label in e.labels), None)

    def difference(
        self, one: Entry, other: Entry | None, name: str = "score"
    ) -> PairedDifference | None:
        """Return `one - other` over common seeds; None without any, or for one and the same.

        Args:
            one: a candidate.
            other: another.
            name: the name of the test score, such as that of a part.
        """
        if other is None or one.label == other.label:
            return None
        values, base = (
            {
                trial.seed: score
                for trial in self.confirmed(entry.label)
                if (score := trial.test.get(name)) is not None
            }
            for entry in (one, other)
        )
        return self.resampled.difference(one.label, values, other.label, base, name)


def leaderboard(results: Results) -> Leaderboard:
    """Compare the confirmed candidates of a study with the baselines.

    Returns:
        The leaderboard; it has no entries while nothing is confirmed.
    """
    candidates = {candidate.label: candidate for candidate in results.candidates}
    # Equal configurations are trained once and share an entry, or they would be compared twice.
    same = {label: c.same_as for label, c in candidates.items() if c.same_as}
    known = [*candidates, *(trial.label for trial in results.stage("confirm"))]
    labels = [label for label in dict.fromkeys(known) if label not in same]
    resampled = resample(
        results.stage("confirm"), results.protocol, overlap=results.training_overlap
    )
    tested = [
        _entry(
            (label, *(a for a in same if same[a] == label)),
            candidates.get(label),
            results,
            resampled,
        )
        for label in labels
        if any(trial.test_score is not None for trial in results.confirmed(label))
    ]
    return Leaderboard(
        **vars(results),
        entries=tuple(sorted(tested, key=lambda entry: (-entry.test.mean, not entry.is_chosen))),
        untested=tuple(label for label in labels if label not in {e.label for e in tested}),
        failures=tuple(trial for trial in results.trials if trial.status == "failed"),
        resampled=resampled,
    )


def rivals_above_winner(board: Leaderboard) -> tuple[tuple[Entry, PairedDifference | None], ...]:
    """Return the baselines and peers with a higher mean test score than the winner.

    Returns:
        Pairs of candidate and `winner - candidate`, which is None without a common seed.
    """
    winner = board.winner
    return tuple(
        (entry, board.difference(winner, entry))
        for entry in board.entries
        if winner and (entry.is_baseline or entry.is_peer) and entry.test.mean > winner.test.mean
    )


def _entry(
    labels: tuple[str, ...],
    candidate: Candidate | None,
    results: Results,
    resampled: Resampled,
) -> Entry:
    seeds = results.confirmed(labels[0])
    tested = [trial for trial in seeds if trial.test_score is not None]
    candidate = candidate or Candidate(label=labels[0], settings=tested[0].settings)
    baselines = {*REFERENCES, *(t.label for t in results.trials if t.arm == "baseline")}
    return Entry(
        label=labels[0],
        labels=labels,
        is_baseline=not baselines.isdisjoint(labels),
        is_peer=candidate.settings.is_peer,
        is_chosen=BEST in labels,
        scores={trial.seed: trial.test_score or 0.0 for trial in tested},
        seeds_planned=len(seeds),
        test=mean_intervals(tested, ("score",), resampled)["score"],
        parts=mean_intervals(tested, results.parts, resampled),
        further_scores=mean_intervals(tested, results.further_names, resampled),
        dataset_scores=mean_intervals(tested, results.tested_datasets, resampled),
        chance=next((trial.chance for trial in tested if trial.chance is not None), None),
        balanced=mean_intervals(tested, (BALANCED,), resampled).get(BALANCED),
        images=next((_image_count(trial.outcomes) for trial in tested if trial.outcomes), None),
        settings=candidate.settings,
        trainable=tested[0].trainable,
        source_trial=candidate.source_trial,
        val_score=candidate.val_score,
        val_base=next(
            (t.val.get(PARTS[0]) for t in results.trials if t.trial_id == candidate.source_trial),
            None,
        ),
    )


def _image_count(outcomes: Outcomes) -> int:
    return sum(map(len, outcomes.right.values()))


def mean_intervals(
    trials: Sequence[TrialResult],
    names: Iterable[str],
    resampled: Resampled,
    split: Split = "test",
) -> dict[str, MeanInterval]:
    """Return the means of named scores over one candidate's trials, without names that none has.

    Args:
        trials: the trials, one a seed.
        names: the names of the scores.
        resampled: the scores on images that were drawn again.
        split: the images that the scores were measured on.
    """
    found: dict[str, MeanInterval] = {}
    for name in names:
        scores = {t.seed: v for t in trials if (v := t.scores(split).get(name)) is not None}
        if scores:
            trained = trials[0].trainable > 0
            found[name] = resampled.mean_interval(trials[0].label, scores, name, trained=trained)
    return found
