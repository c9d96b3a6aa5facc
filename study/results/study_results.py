"""A study's results as typed records, which are read once and handed to every view."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.config.labels import SCORES, VARIANT
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings, settings_columns
from study.errors import DataError
from study.protocols import Protocol
from study.results.training_images import training_overlap
from study.selection.chance import BALANCED, balanced_chance, balanced_score
from study.selection.optimism import Optimism, read_optimism
from study.storage.atomic import write_atomically
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import CELLS, IDENTITY, Registration, StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial import Split
from study.trial.predictions import (
    Confusion,
    Outcomes,
    confusion_of,
    outcomes_of,
    read_predictions,
)
from study.trial.study import Candidate, Study, TrialConfig, read_candidates

SEARCH_ARM = "search"
"""The arm that chooses what to tune; each other one is given that."""
BASELINE = "baseline"
"""The arm of the configurations that are trained as they are."""
PARTS = ("base", "new")
"""The parts of a score that tables for other programs have columns for, whatever the protocol."""

STATUS_FIELDS = (
    *("trial_id", "stage", "arm", "label", "number", "status", "epochs", "epochs_planned", "seed"),
    *("settings", "subset_key", "trainable", "seconds", "val", "test", "chance", "reason", "error"),
    *("curve", "work", "taken_from", "confusion"),
)
"""The fields of a trial in the JSON of a study's status, in their order."""

Scores = Mapping[str, float | None]
"""Fractions by name: the protocol's score, its parts, and single datasets where several are tested.

A number that was not finite is None.
"""


class TrialResult(TrialConfig):
    """What one trial came to, beside its configuration as the trial wrote it.

    Of the configuration the settings alone are validated; a field that it lacks is None.
    """

    status: str
    """How the trial ended: "finished", "stopped" or "failed"; "running" before that."""
    epochs: int
    """The number of completed epochs, not of configured ones as in the configuration."""
    epochs_planned: int
    """The number of epochs that the trial would have without being stopped."""
    seconds: float | None
    """The duration of training and evaluation; None before the end."""
    val: Scores
    """The validation scores that the search received: of the last epoch that reported any."""
    test: Scores
    """The test scores; empty for a search trial, whose test scores are never read."""
    chance: float | None
    """The balanced test score of guessing, see `study.selection.chance`.

    None where nothing was tested or no counts of classes were kept.
    """
    reason: str | None
    """Why the trial was stopped or failed, in one line."""
    error: str | None
    """The traceback of a failed trial."""
    curve: Mapping[int, float]
    """The validation score of each epoch that has one."""
    work: tuple[tuple[float, float], ...]
    """The start and the end of each epoch, repeated ones too, in seconds since 1970."""
    confusion: Confusion
    """What `confusion_of` returns of a tested trial."""
    outcomes: Outcomes | None
    """What a tested trial gets right, image by image; None where it kept no predictions."""

    @property
    def proposed(self) -> bool:
        """Whether a search proposed it: it is neither a baseline nor made of a validated trial."""
        return self.arm not in (BASELINE, VARIANT)

    def scores(self, split: Split) -> Scores:
        """Return the scores on validation or on test images."""
        return self.test if split == "test" else self.val

    def status_record(self) -> dict[str, Any]:
        """Return the values that `status --format json` prints of a trial, by `STATUS_FIELDS`."""
        record = {name: getattr(self, name) for name in STATUS_FIELDS}
        record["settings"] = self.settings.column_values()
        return record

    @property
    def val_score(self) -> float | None:
        """The protocol's score on validation images."""
        return self.val.get("score")

    @property
    def test_score(self) -> float | None:
        """The protocol's score on test images."""
        return self.test.get("score")


@dataclass(frozen=True)
class Results:
    """All results of a study, as they were when they were read."""

    folder: StudyFolder
    """The study's folder."""
    study: Study
    trials: tuple[TrialResult, ...]
    """The trials that have a configuration, in the order of their ids."""
    candidates: tuple[Candidate, ...]
    """The configurations to test, as fixed by validation; empty before that."""
    chosen_before: tuple[int, ...]
    """The number of search trials behind each choice tested before an extension, oldest first."""
    ablates: bool
    """Whether the study is an ablation whose cells are fixed."""
    registration: Registration | None
    """Where the winner is registered; None while it is not."""
    optimism: Optimism | None
    """What to expect of the best validation score; None before the choice, or if not known."""
    identity: Mapping[str, Any]
    """The study's id and the versions that it was made with; empty where they are missing."""
    training_overlap: float | None
    """The mean share of training images that two tested seeds have in common, a fraction.

    None where one seed alone was tested, or no file says what was trained on."""

    @property
    def protocol(self) -> Protocol:
        """The study's protocol."""
        return self.study.protocol()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score that are shown beside it; empty if it has none."""
        parts = self.protocol.parts
        scores = [scores for trial in self.trials for scores in (trial.val, trial.test)]
        return parts if any(s.get(part) is not None for s in scores for part in parts) else ()

    @property
    def metric(self) -> str:
        """What the protocol's score is called: "accuracy", or "hmean" of its parts."""
        return self.protocol.metric

    @property
    def further_names(self) -> tuple[str, ...]:
        """The names of the further test scores that tables show, without those that no trial has.

        One is the balanced score, unless the score is balanced itself.
        """
        names = [] if self.protocol.class_averaged else [BALANCED]
        names += self.protocol.beside_headings
        tested = {name for trial in self.trials for name in trial.test}
        return tuple(name for name in names if name in tested)

    @property
    def tested_datasets(self) -> tuple[str, ...]:
        """The names of the single datasets that were tested, where there are several."""
        tested = dict.fromkeys(name for trial in self.trials for name in trial.test)
        known = {*SCORES, BALANCED, *self.parts, *self.further_names}
        return tuple(name for name in tested if name not in known)

    def stage(self, stage: str) -> tuple[TrialResult, ...]:
        """Return the trials of one stage."""
        return tuple(trial for trial in self.trials if trial.stage == stage)

    def confirmed(self, label: str) -> tuple[TrialResult, ...]:
        """Return the confirmations of one candidate."""
        return tuple(trial for trial in self.stage("confirm") if trial.label == label)


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
    trials = read_trials(opened, study.protocol())
    tested = {trial.seed: trial.split_hash for trial in trials if trial.stage != "search"}
    return Results(
        folder=opened,
        study=study,
        trials=trials,
        candidates=read_candidates(opened) or (),
        chosen_before=tuple(
            entry["from"]
            for entry in opened.read_json("extensions.json") or ()
            if entry["candidates"]
        ),
        ablates=opened.read_json(CELLS) is not None,
        registration=opened.read_registration(),
        optimism=read_optimism(opened),
        identity=opened.read_identity() if opened.read(IDENTITY) is not None else {},
        training_overlap=training_overlap(opened, tested.values()),
    )


def read_trials(folder: StudyFolder, protocol: Protocol | None = None) -> tuple[TrialResult, ...]:
    """Read the trials of a study, in the order of their ids.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, without which no chance is computed.

    Raises:
        LedgerError: a file of a trial is damaged.
    """
    return tuple(_trial(folder, trial, protocol) for trial in folder.trials())


def first_chance(trials: Iterable[TrialResult]) -> float | None:
    """Return the balanced test score of guessing, which all trials share; None if none has it."""
    return next((trial.chance for trial in trials if trial.chance is not None), None)


def results_schema() -> pa.Schema:
    """Return the columns that the results of every study have."""
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    columns = {
        **dict.fromkeys(("study", "trial_id", "stage", "arm", "label"), text),
        "number": whole,
        "status": text,
        **dict.fromkeys(("epochs", "epochs_planned", "seed"), whole),
        **dict.fromkeys(("subset", "subset_key"), text),
        **dict.fromkeys(settings_columns(), number),
        **dict.fromkeys(("subset", "head"), text),
        **dict.fromkeys(("head_steps", "trainable"), whole),
        "seconds": number,
        **{f"{split}_{name}": number for split in ("val", "test") for name in SCORES},
        f"test_{BALANCED}": number,
        "chance": number,
        **dict.fromkeys(("reason", "error"), text),
    }
    return pa.schema(
        pa.field(name, kind, nullable=name not in ("study", "trial_id", "status", "epochs"))
        for name, kind in columns.items()
    )


def results_table(results: Results) -> pa.Table:
    """Return one row per trial, with fractions for scores.

    Returns:
        A table with `results_schema`, followed by a column ``test_NAME`` for each single dataset
        where a study tests several.
    """
    rows = [
        {
            "study": results.folder.name,
            **vars(trial),
            **trial.settings.column_values(),
            **{f"val_{name}": value for name, value in trial.val.items()},
            **{f"test_{name}": value for name, value in trial.test.items()},
        }
        for trial in results.trials
    ]
    schema = results_schema()
    more = {
        name: pa.float64()
        for row in rows
        for name in row
        if name.startswith(("val_", "test_")) and name not in schema.names
    }
    return pa.Table.from_pylist(rows, schema=pa.schema([*schema, *pa.schema(more)]))


def write_results(results: Results) -> Path:
    """Write `results.parquet` into the study's folder atomically, and return its path."""
    path, contents = results.folder.path / "results.parquet", io.BytesIO()
    pq.write_table(results_table(results), contents)
    write_atomically(path, contents.getvalue())
    return path


def _settings(trial: TrialFolder, config: Mapping[str, Any]) -> TrialSettings:
    """Return the settings in the configuration of a trial.

    Raises:
        LedgerError: there are none, or they are damaged.
    """
    try:
        return TrialSettings.model_validate(config["settings"])
    except (KeyError, ValueError) as error:
        raise LedgerError(f"{trial.path / 'config.json'} is damaged: {error}") from error


def _trial(folder: StudyFolder, trial: TrialFolder, protocol: Protocol | None) -> TrialResult:
    config, end, lines = trial.read_config(), trial.read_end(), trial.read_reports()
    # Only the last report counts of an epoch that was reported twice because of a crash.
    reports = [report for _, report in sorted({line["epoch"]: line for line in lines}.items())]
    validated = [r for r in reports if any(r[n] is not None for n in r if n.startswith("val_"))]
    test = _scores(reports[-1], "test_") if reports and config.get("stage") != "search" else {}
    # Nothing is read of trials without a test score, and no chance follows from nothing.
    tested = test.get("score") is not None
    predictions = read_predictions(folder, trial.trial_id) if tested else []
    confusion = confusion_of(predictions)
    chance = None
    if protocol is not None and confusion:
        test = {**test, BALANCED: balanced_score(confusion, protocol)}
        chance = balanced_chance(confusion, protocol)
    values: dict[str, Any] = {
        **{name: config.get(name) for name in TrialConfig.model_fields},
        "trial_id": trial.trial_id,
        "status": end.status if end else "running",
        "epochs": end.epochs if end else len(reports),
        "epochs_planned": config.get("epochs", 0),
        "settings": _settings(trial, config).with_reported_head(reports[-1] if reports else {}),
        "seconds": end.seconds if end else None,
        "val": _scores(validated[-1], "val_") if validated else {},
        "test": test,
        "chance": chance,
        "reason": end.reason if end else None,
        "error": end.error if end else None,
        "curve": {
            report["epoch"]: score
            for report in reports
            if (score := _scores(report, "val_").get("score")) is not None
        },
        "work": tuple(
            (line["ended_at"] - line["seconds"], line["ended_at"])
            for line in lines
            if "ended_at" in line
        ),
        "confusion": confusion,
        "outcomes": outcomes_of(predictions),
    }
    return TrialResult.model_construct(**values)


def _scores(report: Mapping[str, Any], prefix: str) -> dict[str, float | None]:
    # A diverged trial reports NaN, which would spoil sorts and means; a null does not.
    return {
        name.removeprefix(prefix): None if value is None or not isfinite(value) else float(value)
        for name, value in report.items()
        if name.startswith(prefix)
    }
