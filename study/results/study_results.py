"""A study's results as typed records, which are read once and handed to every view."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.config.labels import SCORES
from study.config.loading import load_config
from study.config.schema import StudyConfig
from study.config.trial_settings import settings_columns
from study.errors import DataError
from study.protocols import Protocol
from study.results.chance import BALANCED
from study.results.chosen_configuration import extensions
from study.results.label_check import LabelCheck, check_labels
from study.results.shared_test import count_studies_on_same_test
from study.results.training_images import training_overlap
from study.results.trial_results import TrialResult, read_trials
from study.storage.atomic import write_atomically
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import CELLS, IDENTITY, Registration, StudyFolder
from study.trial.study import COMPARED, Candidate, Study, best_candidate, read_candidates

_COLUMNS = json.loads(Path(__file__).with_name("results_columns.json").read_bytes())
"""The types of the columns of results that are neither settings nor scores, by name."""


@dataclass(frozen=True)
class Results:
    """All results of a study, at the time of reading."""

    folder: StudyFolder
    """The study's folder."""
    study: Study
    trials: Sequence[TrialResult]
    """The trials that have a configuration, in the order of their ids."""
    candidates: Sequence[Candidate]
    """The configurations to test, as fixed by validation; empty before that."""
    earlier_choices: Sequence[Sequence[Candidate]]
    """The candidates of each earlier choice, oldest first; empty if the search was not extended.

    Such a choice had been tested before the search was extended."""
    ablates: bool
    """Whether the study is an ablation whose cells are fixed."""
    registration: Registration | None
    """The registration of the winner; None if it is not registered."""
    identity: JsonObject
    """The study's id and the versions that it was made with; empty where they are missing."""
    training_overlap: float | None
    """The mean share of training images that two tested seeds have in common, a fraction.

    None where one seed alone was tested, or no file says what was trained on."""

    @property
    def earlier_trial_counts(self) -> list[int]:
        """The number of search trials that each earlier choice was made from, oldest first."""
        return [max(one.choice for one in candidates) for candidates in self.earlier_choices]

    @property
    def config(self) -> StudyConfig:
        """The study's configuration."""
        return self.study.config

    @property
    def protocol(self) -> Protocol:
        """The study's protocol."""
        return self.study.protocol

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts that are shown next to a score; empty if it has none."""
        parts = self.protocol.parts
        for trial in self.trials:
            for scores in (trial.val, trial.test):
                if any(scores.get(part) is not None for part in parts):
                    return parts
        return ()

    @property
    def metric(self) -> str:
        """The name of the protocol's score: "accuracy", or "hmean" of its parts."""
        return self.protocol.metric

    @property
    def further_names(self) -> list[str]:
        """The names of the further test scores in tables, without those that no trial has.

        One is the balanced score, unless the score is balanced itself.
        """
        names = list(self.protocol.further_headings)
        if not self.protocol.class_averaged:
            names.insert(0, BALANCED)
        tested = self._test_names()
        return [name for name in names if name in tested]

    @property
    def tested_datasets(self) -> list[str]:
        """The names of the single datasets that were tested, where there are several."""
        other_names = {BALANCED}
        other_names.update(SCORES, self.parts, self.further_names)
        return [name for name in self._test_names() if name not in other_names]

    @cached_property
    def studies_on_same_test(self) -> int:
        """The number of other studies of the storage that were tested on images of this test."""
        return count_studies_on_same_test(self.folder)

    @property
    def label_check(self) -> LabelCheck | None:
        """The training images that are likely mislabelled, by the best configuration's folds.

        None before the choice, and if its trial kept no probabilities.

        Raises:
            LedgerError: a file of a trial is damaged.
        """
        best = best_candidate(self.candidates)
        if not best or best.source_trial is None:
            return None
        return check_labels(self.folder, best.source_trial)

    def _test_names(self) -> list[str]:
        """Return the names of all test scores, in the order in which trials have them."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.test))

    @property
    def each_trial(self) -> list[TrialResult]:
        """The trials, each once; `trials` has a test once for each head that it is used with."""
        trials: dict[str, TrialResult] = {}
        for trial in self.trials:
            trials.setdefault(trial.trial_id, trial)
        return list(trials.values())

    def facts(self) -> dict[str, Any]:
        """Return what was read of the study, by field, without what was made of it."""
        return {field.name: getattr(self, field.name) for field in fields(Results)}

    def stage(self, stage: str) -> list[TrialResult]:
        """Return the trials of one stage."""
        return [trial for trial in self.trials if trial.stage == stage]

    def test_trials(self, label: str) -> list[TrialResult]:
        """Return the test trials of one candidate, one a seed, scored or not."""
        return [trial for trial in self.stage("test") if trial.label == label]

    def tested_trials(self, label: str) -> list[TrialResult]:
        """Return the test trials of one candidate that have a test score."""
        return [trial for trial in self.test_trials(label) if trial.test_score is not None]


def read_results(folder: Path, protocol: Protocol | None = None) -> Results:
    """Read a study's folder.

    Args:
        folder: the study's folder, `runs/NAME`.
        protocol: the study's protocol, if it is not found by its name.

    Raises:
        DataError: the folder holds no ledger.
        LedgerError: a file of it is damaged.
        ConfigError: its configuration is missing or damaged, or names an unknown protocol.
    """
    if not (folder / "trials").is_dir():
        raise DataError(f"{folder}: no trials/ folder; expected the folder of a study (runs/NAME)")
    # Resolved, because a study has the name of its folder, and "." is no name.
    opened = StudyFolder(folder.resolve())
    study = Study(load_config(opened.config_path, frozen=True), opened, protocol)
    trials = read_trials(opened, study.protocol)
    split_hashes = {trial.seed: trial.split_hash for trial in trials if trial.stage in COMPARED}
    earlier_choices = []
    for extension in extensions(study):
        if extension["candidates"]:
            earlier_choices.append([*map(Candidate.model_validate, extension["candidates"])])
    identity = {}
    if opened.read(IDENTITY) is not None:
        identity = opened.read_identity()
    return Results(
        folder=opened,
        study=study,
        trials=trials,
        candidates=read_candidates(opened) or (),
        earlier_choices=earlier_choices,
        ablates=opened.read_json(CELLS) is not None,
        registration=opened.read_registration(),
        identity=identity,
        training_overlap=training_overlap(opened, split_hashes.values()),
    )


def results_schema() -> pa.Schema:
    """Return the columns that the results of every study have."""
    kinds = _COLUMNS["before_settings"] | dict.fromkeys(settings_columns(), "double")
    kinds |= _COLUMNS["after_settings"]
    scores = [f"{split}_{name}" for split in ("val", "test") for name in SCORES]
    kinds |= dict.fromkeys([*scores, f"test_{BALANCED}"], "double")
    kinds |= _COLUMNS["after_scores"]
    fields = []
    for name, kind in kinds.items():
        optional = name not in _COLUMNS["never_empty"]
        fields.append(pa.field(name, pa.type_for_alias(kind), nullable=optional))
    return pa.schema(fields)


def results_table(results: Results) -> pa.Table:
    """Return one row per trial, with fractions for scores.

    Returns:
        A table with `results_schema`, followed by a column ``test_NAME`` for each single dataset
        where a study tests several.
    """
    rows = []
    score_names = {}
    for trial in results.trials:
        scores = {f"val_{name}": value for name, value in trial.val.items()}
        scores |= {f"test_{name}": value for name, value in trial.test.items()}
        settings = trial.settings.column_values()
        rows.append({"study": results.folder.name} | vars(trial) | settings | scores)
        score_names.update(dict.fromkeys(scores))
    schema = results_schema()
    for name in score_names:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.float64()))
    return pa.Table.from_pylist(rows, schema=schema)


def write_results(results: Results) -> Path:
    """Write `results.parquet` into the study's folder atomically, and return its path."""
    path = results.folder.path / "results.parquet"
    contents = io.BytesIO()
    pq.write_table(results_table(results), contents)
    write_atomically(path, contents.getvalue())
    return path
