"""The result of a study: its folder read once, and the numbers that follow, computed once.

Nothing is selected here: the best configuration is the one that validation ranked first, unless its
test score is no better than guessing. Up to two comparisons of it are fixed beforehand, and
tested; all other differences are described only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from study.config.labels import SCORES, ZERO_SHOT
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.errors import DataError
from study.protocols import Protocol
from study.results.ablation import Ablation, make_ablation
from study.results.best_configuration import (
    extensions,
    final_candidate,
    final_trial_id,
    planned_rivals,
)
from study.results.bootstrap import ResampledTests, resample_tests
from study.results.chance import ChanceComparison
from study.results.classes import Classes, first_seed, make_classes
from study.results.label_check import LabelCheck, check_labels
from study.results.rows import Row, ScoreNames, make_row
from study.results.statistics import (
    Intervals,
    MeanInterval,
    difference,
    make_comparisons,
    mean_intervals,
)
from study.results.training_images import read_training_images, training_overlap
from study.results.trial_results import TrialResult, read_trials, trials_table
from study.storage.atomic import with_retries
from study.storage.result_folder import JsonObject
from study.storage.study_folder import CHANCE, IDENTITY, Registration, StudyFolder
from study.trial.predictions import BALANCED
from study.trial.study import (
    BEST,
    COMPARED,
    Candidate,
    Stage,
    Study,
    best_candidate,
    candidate_of_label,
    read_candidates,
)

if TYPE_CHECKING:
    import pandas as pd

TRIAL_STATES = ("finished", "stopped", "failed", "running")
"""How a trial may have ended, or not yet."""


class FinalModel(NamedTuple):
    """The model that is registered, exported and predicted with."""

    row: Row
    """The tested configuration that it has."""
    trial: TrialResult | None
    """Its own training, which is no row among those of the seeds.

    None means that the model is that of the row's first test seed: ``final.images`` is ``shots``,
    the configuration trains nothing, or the training has not finished."""
    images: int | None = None
    """The number of images of its own training; None if no record says it."""
    test: MeanInterval | None = None
    """The test score of its own training, with the interval over test images alone; None if it was
    not tested."""


@dataclass(frozen=True)
class StudyResult:
    """The result of a study, at the time of reading; see `read_study_result`.

    Scores are fractions. What takes long, such as intervals over test images, is computed when it
    is first used, and once.
    """

    study: Study
    trial_results: Sequence[TrialResult]
    """The trials that have a configuration, in the order of their ids. A test stands here once for
    each head that a candidate uses its training with."""
    candidates: Sequence[Candidate]
    """The configurations to test, as fixed by validation; empty before that."""
    earlier_candidates: Sequence[Sequence[Candidate]]
    """The candidates before each extension of the search, oldest first, which had been tested."""
    identity: JsonObject
    """The study's id and the versions that it was made with; empty where they are missing."""
    training_overlap: float | None
    """The mean share of training images that two tested seeds have in common, a fraction.

    None where one seed alone was tested, or no file says what was trained on."""

    @property
    def folder(self) -> StudyFolder:
        """The study's folder."""
        return self.study.folder

    @property
    def config(self) -> StudyConfig:
        """The study's configuration."""
        return self.study.config

    @property
    def protocol(self) -> Protocol:
        """The study's protocol."""
        return self.study.protocol

    @property
    def is_complete(self) -> bool:
        """Whether all of the study's steps have ended."""
        return self.folder.is_complete()

    @cached_property
    def registration(self) -> Registration | None:
        """The registration of the final model when it is first used; None if there is none.

        Raises:
            FolderError: its file is damaged.
        """
        return self.folder.read_registration()

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials, one a row, with the columns of ``results.parquet``."""
        return trials_table(self.folder.name, self.trial_results).to_pandas()

    @cached_property
    def each_trial(self) -> list[TrialResult]:
        """The trials, each once, whatever the number of heads that it is used with."""
        trials: dict[str, TrialResult] = {}
        for trial in self.trial_results:
            trials.setdefault(trial.trial_id, trial)
        return list(trials.values())

    def stage(self, stage: Stage) -> list[TrialResult]:
        """Return the trials of one stage."""
        return [trial for trial in self.trial_results if trial.stage == stage]

    def test_trials(self, label: str) -> list[TrialResult]:
        """Return the test trials of one candidate, one a seed, scored or not."""
        return [trial for trial in self.stage("test") if trial.label == label]

    def tested_trials(self, label: str) -> list[TrialResult]:
        """Return the test trials of one candidate that have a test score."""
        return [trial for trial in self.test_trials(label) if trial.test_score is not None]

    @property
    def has_search(self) -> bool:
        """Whether the study has search trials, from which validation could choose."""
        return bool(self.stage("search"))

    @cached_property
    def score_names(self) -> ScoreNames:
        """The names of the scores that tables show, without those that no trial has."""
        parts = self.protocol.parts
        scores = [split for trial in self.trial_results for split in (trial.val, trial.test)]
        if not any(of_trial.get(part) is not None for of_trial in scores for part in parts):
            parts = ()
        tested = dict.fromkeys(name for trial in self.trial_results for name in trial.test)
        return ScoreNames(
            metric=self.protocol.metric,
            parts=parts,
            # The score of a protocol that averages over classes is balanced itself.
            balanced=BALANCED in tested and not self.protocol.class_averaged,
            datasets=tuple(name for name in tested if name not in {BALANCED, *SCORES, *parts}),
        )

    @cached_property
    def resampled(self) -> ResampledTests:
        """The scores of the tests, those of cells included, on resampled test images."""
        compared = [trial for trial in self.trial_results if trial.stage in COMPARED]
        return resample_tests(compared, self.protocol, overlap=self.training_overlap)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The configurations with at least one test score, best mean first."""
        equal: dict[object, list[Candidate]] = defaultdict(list)  # they would be compared twice
        for candidate in self.candidates:
            equal[candidate.tested].append(candidate)
        rows = [
            make_row(
                candidates,
                self.test_trials(candidates[0].label),
                resampled=self.resampled,
                names=self.score_names,
                chance=self.chance,
            )
            for candidates in equal.values()
            if self.tested_trials(candidates[0].label)
        ]
        return tuple(sorted(rows, key=lambda row: (-row.test.mean, not row.is_best_by_validation)))

    @property
    def untested(self) -> list[str]:
        """The labels of candidates without any test score."""
        return [one.label for one in self.candidates if not self.find_row(one.label)]

    def find_row(self, label: str | None) -> Row | None:
        """Return the row that has this label; None if there is none."""
        return next((row for row in self.rows if label in row.labels), None)

    @property
    def chance(self) -> float | None:
        """The balanced test score of guessing, which is the same for all rows and cells."""
        chances = (trial.chance for trial in self.trial_results)
        return next((chance for chance in chances if chance is not None), None)

    @property
    def best_by_validation(self) -> Row | None:
        """The row that validation ranked first, which need not be the first one on test."""
        return self.find_row(BEST)

    @property
    def best(self) -> Row | None:
        """The best configuration: first by validation. None if it does not score above chance."""
        row = self.best_by_validation
        return row if row and row.is_best else None

    @property
    def rivals(self) -> list[str]:
        """The labels of what the best configuration is compared with, see `planned_rivals`."""
        return planned_rivals(self.candidates)

    def difference(self, row: Row, base: Row | None) -> MeanInterval | None:
        """Return `row - base` on test over common seeds; None without any, or for the same row."""
        if not base or row.label == base.label:
            return None
        trials, base_trials = self.test_trials(row.label), self.test_trials(base.label)
        return difference(self.resampled, trials, base_trials)

    @cached_property
    def comparisons(self) -> Intervals:
        """The comparisons of the best configuration that are fixed beforehand, by `rivals`.

        The rival that comes closest, or that is furthest above, stands first. The best
        configuration is not compared with itself or with a rival without a score. Holm corrects for
        the number of comparisons that remain, and for those that were planned before the search was
        extended.
        """
        best = self.best
        if not best:
            return {}
        planned = {}
        for candidates in (*self.earlier_candidates, self.candidates):
            row, *rivals = (
                self._row_of(candidate_of_label(candidates, label))
                for label in (BEST, *planned_rivals(candidates))
            )
            for rival in rivals:
                if row and rival:
                    planned[row.label, rival.label] = self.difference(row, rival)
        own = {row.label for row in map(self.find_row, self.rivals) if row}
        compared = {
            rival: found
            for (label, rival), found in make_comparisons(planned).items()
            if label == best.label and rival in own
        }
        return dict(sorted(compared.items(), key=lambda comparison: comparison[1].mean))

    def _row_of(self, candidate: Candidate | None) -> Row | None:
        """Return the row of a candidate of an earlier search, which may have another label now."""
        if not candidate:
            return None
        labels = {one.tested: one.label for one in self.candidates}
        return self.find_row(labels.get(candidate.tested))

    @cached_property
    def classes(self) -> Classes:
        """The test images class by class, as the best configuration by validation takes them."""
        best = self.best_by_validation
        trials = self.tested_trials(best.label) if best else []
        split_hash = first_seed(trials).split_hash if trials else None
        return make_classes(
            trials,
            self.test_trials(ZERO_SHOT),
            read_training_images(self.folder, split_hash),
            overlap=self.training_overlap,
            datasets=self.score_names.datasets,
        )

    @cached_property
    def final(self) -> FinalModel | None:
        """The final model; None without a best configuration, or before that is tested."""
        candidate = final_candidate(self.candidates)
        row = self.find_row(candidate.label) if candidate else None
        if not self.best or not row:
            return None
        trial_id = final_trial_id(self.config, candidate)
        for trial in self.stage("final"):
            if trial.trial_id == trial_id and trial.status == "finished":
                trained = read_training_images(self.folder, trial.split_hash)
                images = len(trained) if trained else None
                return FinalModel(row, trial, images, self.score_alone(trial))
        return FinalModel(row, None)

    def score_alone(self, trial: TrialResult) -> MeanInterval | None:
        """Return the test score of one training with its interval over test images alone.

        None if it was not tested.
        """
        resampled = resample_tests([trial], self.protocol)
        score = mean_intervals(resampled, [trial], ["score"]).get("score")
        if score is None or score.images is None:
            return score
        return replace(score, low=score.images.low, high=score.images.high)

    @cached_property
    def ablation(self) -> Ablation | None:
        """The cells of the ablation against its base; None before an ablation has fixed them.

        Raises:
            FolderError: the file of the cells is damaged.
        """
        trials = self.stage("ablation")
        if not trials and self.study.cells() is None:
            return None
        return make_ablation(trials, self.stage("search"), self.resampled, self.score_names)

    @cached_property
    def label_check(self) -> LabelCheck | None:
        """The training images that are likely mislabelled, by the best configuration's folds.

        None before validation has chosen, and if the trial kept no probabilities.

        Raises:
            FolderError: a file of a trial is damaged.
        """
        best = best_candidate(self.candidates)
        if not best or best.source_trial is None:
            return None
        return check_labels(self.folder, best.source_trial)


def read_study_result(folder: Path) -> StudyResult:
    """Read a study's folder.

    Args:
        folder: the study's folder, `runs/NAME`.

    Raises:
        DataError: the folder is not that of a study.
        FolderError: a file of it is damaged.
        ConfigError: its configuration is missing or damaged, or names an unknown protocol.
    """
    if not (folder / "trials").is_dir():
        raise DataError(
            f"{folder} has no folder trials/; expected the folder of a study (runs/NAME)"
        )
    # Resolved, because a study has the name of its folder, and "." is no name.
    opened = StudyFolder(folder.resolve())
    study = Study(load_config(opened.config_path, frozen=True), opened)
    trials = read_trials(opened, study.protocol)
    split_hashes = {trial.seed: trial.split_hash for trial in trials if trial.stage in COMPARED}
    earlier = [extension["candidates"] for extension in extensions(study)]
    return StudyResult(
        study=study,
        trial_results=trials,
        candidates=read_candidates(opened) or (),
        earlier_candidates=[[*map(Candidate.model_validate, some)] for some in earlier if some],
        identity=opened.read_identity() if opened.read(IDENTITY) is not None else {},
        training_overlap=training_overlap(opened, split_hashes.values()),
    )


def read_ended_study(folder: StudyFolder) -> StudyResult:
    """Return the result of a study that ran in this process; wait if its storage is away.

    Raises:
        FolderError: a file of the study is damaged.
        StorageError: the folder cannot be read.
    """
    trials = folder.path / "trials"
    with_retries(trials, trials.stat, existing=folder.path)
    return read_study_result(folder.path)


def write_chance(result: StudyResult) -> None:
    """Write how the best configuration, and that of the final model, compare with chance.

    They are written by their labels and by those of candidates that equal them, for the registry
    and other commands. Nothing is written if validation has chosen nothing, or if the trials kept
    no predictions.

    Raises:
        StorageError: the folder cannot be written.
    """
    chosen = best_candidate(result.candidates), final_candidate(result.candidates)
    by_label: dict[str, ChanceComparison] = {}
    for candidate in filter(None, chosen):
        row = result.find_row(candidate.label)
        if row and row.against_chance:
            by_label |= dict.fromkeys(row.labels, row.against_chance)
    if by_label:
        result.folder.write_json(CHANCE, by_label)
