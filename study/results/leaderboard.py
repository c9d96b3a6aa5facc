"""The results of the test stage: candidates on test, and the differences between them.

Nothing is selected here: the winner is the candidate that validation chose, unless its test score
is no better than guessing. Up to two comparisons of it are fixed beforehand, and tested; all
other differences are described only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from study.config.labels import TUNED
from study.results.chosen_configuration import final_candidate, final_trial_id
from study.results.entries import Entry, make_entry
from study.results.final_model import FinalModel, read_final_model
from study.results.intervals import Intervals, MeanInterval
from study.results.resampling import Resampled, recall_intervals, resample
from study.results.statistics import make_comparisons
from study.results.study_results import Results
from study.results.trial_results import TrialResult, first_chance, seed_scores
from study.results.validation_check import ValidationCheck, check_validation, find_highest
from study.trial.predictions import Stratum
from study.trial.study import BEST, Candidate, candidate_of_label

TRIAL_STATES = ("finished", "stopped", "failed", "running")
"""How a trial may have ended, or not yet."""


@dataclass(frozen=True)
class Leaderboard(Results):
    """The results of a study, with the comparison of its tested candidates."""

    entries: Sequence[Entry]
    """The candidates with at least one test score, best mean first."""
    untested: Sequence[str]
    """The labels of candidates without any test score."""
    failures: Sequence[TrialResult]
    """The failed trials of all stages."""
    resampled: Resampled
    """The scores of the tests on resampled test images."""

    @cached_property
    def group_counts(self) -> list[Any]:
        """What each group of the search spent, a row a group, sorted by name.

        A row has the name of the `group`, the number of its `trials`, the number of those in each
        of the `TRIAL_STATES`, and the `epochs` and `seconds` of all of them together.
        """
        rows = [(t.group, t.status, t.epochs, t.seconds or 0.0) for t in self.stage("search")]
        trials = pd.DataFrame(rows, columns=["group", "status", "epochs", "seconds"])
        states = pd.crosstab(trials["group"], trials["status"])
        states = states.reindex(columns=TRIAL_STATES, fill_value=0)
        spent = trials.groupby("group").agg(
            trials=("status", "size"), epochs=("epochs", "sum"), seconds=("seconds", "sum")
        )
        return list(spent.join(states).reset_index().itertuples(name="GroupCount", index=False))

    @cached_property
    def validation_check(self) -> ValidationCheck:
        """How well validation ranked the candidates."""
        return check_validation(self.entries, self.stage("search"))

    @property
    def chance(self) -> float | None:
        """The balanced test score of guessing; the same for all candidates."""
        return first_chance(self.stage("test"))

    @property
    def chosen_word(self) -> str:
        """The word for what validation chose: a choice no better than chance is no winner."""
        return "choice" if self.chosen and self.winner is None else "winner"

    @property
    def chosen(self) -> Entry | None:
        """The candidate that validation chose, which need not be the first entry."""
        return self.find_entry(BEST)

    @property
    def winner(self) -> Entry | None:
        """The chosen candidate if its test score is above chance, else None."""
        return next((entry for entry in self.entries if entry.is_winner), None)

    @property
    def top_peer(self) -> str | None:
        """The label of the best other method; see `best_other_method`."""
        return best_other_method(self.candidates)

    @property
    def rivals(self) -> list[str]:
        """The labels of the candidates that the winner is compared with, as fixed beforehand.

        They are tuned CLIPFit, and the best other method.
        """
        return [label for label in (TUNED, self.top_peer) if label]

    @cached_property
    def planned_comparisons(self) -> Intervals:
        """The comparisons of the winner that are fixed beforehand, by the other's label.

        The rival that comes closest to the winner, or that is furthest above it, stands first. The
        winner is not compared with itself or with a candidate without a score. Holm corrects for
        the number of comparisons that remain, and for those that earlier choices of a study that
        was extended had planned.
        """
        winner = self.winner
        if not winner:
            return {}
        planned = {}
        for candidates in (*self.earlier_choices, self.candidates):
            best = self._entry_of(candidates, BEST)
            rivals = [
                self._entry_of(candidates, label)
                for label in (TUNED, best_other_method(candidates))
            ]
            for rival in filter(None, rivals):
                if best:
                    planned[best.label, rival.label] = self.difference(best, rival)
        compared = {
            rival: difference
            for (best_label, rival), difference in make_comparisons(planned).items()
            if best_label == winner.label and not {*self.rivals}.isdisjoint(self._labels(rival))
        }
        return dict(sorted(compared.items(), key=lambda comparison: comparison[1].mean))

    def _labels(self, label: str) -> Sequence[str]:
        """Return all labels of the candidate that has a label."""
        entry = self.find_entry(label)
        return entry.labels if entry else ()

    def _entry_of(self, candidates: Sequence[Candidate], label: str | None) -> Entry | None:
        """Return what was tested of a candidate of a choice, which may have another label now."""
        candidate = candidate_of_label(candidates, label) if label else None
        if not candidate:
            return None
        labels = {one.tested: one.label for one in self.candidates}
        return self.find_entry(labels.get(candidate.tested, ""))

    @property
    def rivals_above_winner(self) -> list[tuple[Entry, MeanInterval | None]]:
        """The baselines and peers with a higher mean test score than the winner.

        These are pairs of candidate and `winner - candidate`, which is None without a common seed.
        """
        winner = self.winner
        if not winner:
            return []
        return [
            (entry, self.difference(winner, entry))
            for entry in self.entries
            if (entry.is_baseline or entry.is_peer) and entry.test.mean > winner.test.mean
        ]

    @cached_property
    def recalls(self) -> Mapping[Stratum, MeanInterval]:
        """The mean accuracy of the choice on each class; see `recall_intervals`."""
        if not self.chosen:
            return {}
        return recall_intervals(self.test_trials(self.chosen.label), self.resampled.overlap)

    @property
    def has_search(self) -> bool:
        """Whether the study has search trials, from which validation could choose."""
        return bool(self.stage("search"))

    @property
    def scored_datasets(self) -> list[str]:
        """The names of the datasets with a score, where several are tested; else empty."""
        names = {}
        for entry in self.entries:
            names.update(dict.fromkeys(entry.dataset_scores))
        return list(names)

    @cached_property
    def final(self) -> FinalModel | None:
        """The final model; None without a winner, or before its configuration is tested."""
        candidate = final_candidate(self.candidates)
        entry = self.find_entry(candidate.label) if candidate else None
        if not self.winner or not entry:
            return None
        return read_final_model(self, entry, final_trial_id(self.config, candidate))

    def find_entry(self, label: str) -> Entry | None:
        """Return the candidate that has this label; None if there is none."""
        return next((entry for entry in self.entries if label in entry.labels), None)

    def difference(self, entry: Entry, base: Entry | None) -> MeanInterval | None:
        """Return `entry - base` over common seeds; None without any, or for the same entry.

        Args:
            entry: a candidate.
            base: the candidate that is subtracted.
        """
        if not base or entry.label == base.label:
            return None
        scores = seed_scores(self.test_trials(entry.label))
        base_scores = seed_scores(self.test_trials(base.label))
        terms = [(entry.label, scores, 1), (base.label, base_scores, -1)]
        return self.resampled.weighted_sum(terms)


def best_other_method(candidates: Sequence[Candidate]) -> str | None:
    """Return the label of the best other method by validation; None if none has a score.

    Other methods are all that tune no subset: peers, a linear classifier on frozen CLIP, and CLIP
    as it is.
    """
    scores = {one.label: one.val_score for one in candidates if one.settings.subset == "none"}
    label, _ = find_highest(scores)
    return label


def leaderboard(results: Results) -> Leaderboard:
    """Compare the tested candidates of a study with the baselines.

    Returns:
        The leaderboard; it has no entries while nothing is tested.
    """
    tests = results.stage("test")
    resampled = resample(tests, results.protocol, overlap=results.training_overlap)
    tested = []
    untested = []
    for labels in _labels_by_configuration(results):
        label = labels[0]
        if results.tested_trials(label):
            tested.append(make_entry(labels, results, resampled))
        else:
            untested.append(label)
    tested.sort(key=lambda entry: (-entry.test.mean, not entry.is_chosen))
    return Leaderboard(
        **results.facts(),
        entries=tested,
        untested=untested,
        failures=[trial for trial in results.each_trial if trial.status == "failed"],
        resampled=resampled,
    )


def _labels_by_configuration(results: Results) -> list[list[str]]:
    """Return the labels of each configuration.

    Equal configurations share an entry, or they would be compared twice.
    """
    groups: dict[object, list[str]] = {}
    labels = {candidate.label: candidate.tested for candidate in results.candidates}
    for trial in results.stage("test"):
        labels.setdefault(trial.label, (trial.label, None))
    for label, tested in labels.items():
        groups.setdefault(tested, []).append(label)
    return list(groups.values())
