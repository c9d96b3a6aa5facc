"""The trials of a study, read from its folder: typed records, and a table of them."""

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

import pyarrow as pa
import pyarrow.parquet as pq

from study.config.labels import SCORES
from study.config.trial_settings import Head, TrialSettings, settings_columns
from study.protocols import Protocol
from study.results.chance import balanced_scores
from study.storage.result_folder import FolderError, JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import (
    BALANCED,
    Confusion,
    Outcomes,
    confusion_of,
    outcomes_of,
    read_predictions,
)
from study.trial.study import TrialConfig, read_candidates

PARTS = ("base", "new")
"""The parts of a score that tables for other programs have columns for, whatever the protocol."""
RESULTS = "results.parquet"
"""The file of a study's trials."""
SOURCE = "source"
"""The name of the test score on the dataset that is trained on, where several are tested."""

_NOT_IN_STATUS = ("training", "split_hash", "config_hash", "outcomes")
"""The fields of a trial that the JSON of a study's status leaves out."""
Scores = Mapping[str, float | None]
"""Fractions by name: the protocol's score, its parts, and single datasets where several are tested.

A number that was not finite is None.
"""


class TrialResult(TrialConfig):
    """The result of one trial, with its configuration as the trial wrote it.

    Only the settings of the configuration are validated; a field that it lacks is None.
    """

    status: str = "running"
    """How the trial ended: "finished", "stopped" or "failed"; "running" before that."""
    epochs: int
    """The number of completed epochs, not of configured ones as in the configuration."""
    epochs_planned: int
    """The number of epochs that the trial would have without being stopped."""
    seconds: float | None = None
    """The duration of training and evaluation; None before the end."""
    val: Scores
    """The validation scores that the search received: those of the last epoch that has any."""
    test: Scores
    """The test scores; empty for a search trial, whose test scores are never read."""
    chance: float | None
    """The balanced test score of guessing, see `study.results.chance`.

    None if nothing was tested or no counts of classes were kept.
    """
    reason: str | None = None
    """Why the trial was stopped or failed, in one line."""
    error: str | None = None
    """The traceback of a failed trial."""
    confusion: Confusion
    """The predicted classes of test images, counted; see `study.trial.predictions.confusion_of`."""
    outcomes: Mapping[Head, Outcomes] = {}
    """What a tested trial gets right, image by image, with each head that it was scored with.

    Empty if it kept no predictions."""

    def status_record(self) -> JsonObject:
        """Return the values that `status --json` prints of a trial."""
        record = {name: value for name, value in vars(self).items() if name not in _NOT_IN_STATUS}
        return record | {"settings": self.settings.column_values()}

    @property
    def val_score(self) -> float | None:
        """The protocol's score on validation images."""
        return self.val.get("score")

    @property
    def test_score(self) -> float | None:
        """The protocol's score on test images."""
        return self.test.get("score")


def seed_scores(trials: Iterable[TrialResult], name: str = "score") -> dict[int, float]:
    """Return a test score of each seed, of the trials that have it; there is one trial a seed."""
    scores = {}
    for trial in trials:
        score = trial.test.get(name)
        if score is not None:
            scores[trial.seed] = score
    return scores


def read_trials(folder: StudyFolder, protocol: Protocol) -> list[TrialResult]:
    """Read the trials of a study, in the order of their ids.

    A test stands here once for each head that a candidate uses its training with, under the label
    of the first such candidate, and with the scores of this head.

    Args:
        folder: the study's folder.
        protocol: the study's protocol, which makes a score of guessing.

    Raises:
        FolderError: a file of a trial is damaged.
    """
    uses: dict[str, dict[Head | None, str]] = defaultdict(dict)
    for candidate in read_candidates(folder) or ():
        uses[candidate.training].setdefault(candidate.settings.head, candidate.label)
    trials = []
    for trial in folder.trials():
        config = trial.read_config()
        stage, label = config.get("stage"), config.get("label")
        heads = uses.get(str(label)) if stage == "test" else None
        for head, name in heads.items() if heads else [(None, label)]:
            trials.append(_read_trial(folder, trial, {**config, "label": name}, protocol, head))
    return trials


def _read_trial(
    folder: StudyFolder,
    trial: TrialFolder,
    config: JsonObject,
    protocol: Protocol,
    head: Head | None,
) -> TrialResult:
    """Return the result of a trial with one of its heads; None means the one it was used with."""
    # Read before the reports, so that a trial that has ended has all of them.
    end = trial.read_end()
    reports = trial.read_reports()
    last_report = reports[-1] if reports else {}
    settings = _read_settings(trial, config).with_reported_head(last_report)
    if head:
        settings = settings.model_copy(update={"head": head})
    test = {}
    if config.get("stage") != "search":
        of_head = last_report.get("scores", {}).get(settings.head, {})
        test = _read_scores(last_report, "test_") | _read_scores(of_head)
    predictions = defaultdict(list)
    # Without a test score there is nothing to compare with chance, so nothing is read.
    if test.get("score") is not None:
        for prediction in read_predictions(folder, trial.trial_id):
            predictions[prediction.head].append(prediction)
    confusion = confusion_of(predictions.get(settings.head, ()) if settings.head else ())
    chance = None
    if balanced := balanced_scores(confusion, protocol):
        test[BALANCED], chance = balanced
    values: JsonObject = {name: config.get(name) for name in TrialConfig.model_fields}
    values |= {
        "trial_id": trial.trial_id,
        "epochs": len(reports),
        "epochs_planned": config.get("epochs", 0),
        "settings": settings,
        "val": _read_validation(reports),
        "test": test,
        "chance": chance,
        "confusion": confusion,
        "outcomes": {head: outcomes_of(own) for head, own in predictions.items()},
    }
    if end:
        values |= vars(end)
    return TrialResult.model_construct(**values)


def _read_settings(trial: TrialFolder, config: JsonObject) -> TrialSettings:
    """Return the settings in the configuration of a trial.

    Raises:
        FolderError: there are none, or they are damaged.
    """
    try:
        return TrialSettings.model_validate(config["settings"])
    except (KeyError, ValueError) as error:
        raise FolderError(f"{trial.path / 'config.json'} is damaged: {error}") from error


def _read_validation(reports: Sequence[JsonObject]) -> dict[str, float | None]:
    """Return the validation scores of the last report that has any, see `TrialResult.val`."""
    for report in reversed(reports):
        scores = _read_scores(report, "val_")
        if any(report[f"val_{name}"] is not None for name in scores):
            return scores
    return {}


def _read_scores(report: JsonObject, prefix: str = "") -> dict[str, float | None]:
    """Return the scores of a report by their names without a prefix that they have.

    A diverged trial reports NaN, which would spoil sorts and means; it becomes None.
    """
    return {
        name.removeprefix(prefix): float(value) if value is not None and isfinite(value) else None
        for name, value in report.items()
        if name.startswith(prefix)
    }


def trials_schema() -> pa.Schema:
    """Return the columns that the trials of every study have."""
    texts = ("study", "trial_id", "stage", "group", "label", "status", "subset", "head", "reason")
    types = dict.fromkeys((*texts, "error"), pa.string())
    types |= dict.fromkeys(("number", "epochs", "epochs_planned", "seed", "trainable"), pa.int64())
    scores = [f"{split}_{name}" for split in ("val", "test") for name in SCORES]
    names = ["study", "trial_id", "stage", "group", "label", "number", "status", "epochs"]
    names += ["epochs_planned", "seed", "subset"]
    # The settings have the subset and the head as well, which stand once.
    names += [*settings_columns(), "head", "trainable", "seconds", *scores, f"test_{BALANCED}"]
    names += ["chance", "reason", "error"]
    return pa.schema((name, types.get(name, pa.float64())) for name in dict.fromkeys(names))


def trials_table(study: str, trials: Iterable[TrialResult]) -> pa.Table:
    """Return one row per trial, with fractions for scores.

    Args:
        study: the name of the study.
        trials: its trials.

    Returns:
        A table with `trials_schema`, followed by a column ``test_NAME`` for each single dataset
        where a study tests several.
    """
    rows = []
    score_names: dict[str, None] = {}
    for trial in trials:
        scores = {f"val_{name}": value for name, value in trial.val.items()}
        scores |= {f"test_{name}": value for name, value in trial.test.items()}
        settings = trial.settings.column_values()
        rows.append({"study": study} | vars(trial) | settings | scores)
        score_names.update(dict.fromkeys(scores))
    schema = trials_schema()
    for name in score_names:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.float64()))
    return pa.Table.from_pylist(rows, schema=schema)


def write_trials(folder: StudyFolder, trials: Iterable[TrialResult]) -> None:
    """Write the table of a study's trials into its folder atomically."""
    contents = io.BytesIO()
    pq.write_table(trials_table(folder.name, trials), contents)
    folder.write(RESULTS, contents.getvalue())
