"""The trials of a study as a table, one row a trial: ``results.parquet`` and a data frame."""

import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from study.config.labels import SCORES
from study.config.trial_settings import settings_columns
from study.results.chance import BALANCED
from study.results.trial_results import TrialResult
from study.storage.atomic import write_atomically
from study.storage.study_folder import StudyFolder

RESULTS = "results.parquet"
"""The file of a study's trials."""
_NEVER_EMPTY = ("study", "trial_id", "status", "epochs")


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
    return pa.schema(
        pa.field(name, types.get(name, pa.float64()), nullable=name not in _NEVER_EMPTY)
        for name in dict.fromkeys(names)
    )


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


def write_trials(folder: StudyFolder, trials: Iterable[TrialResult]) -> Path:
    """Write the table of a study's trials into its folder atomically, and return its path."""
    path = folder.path / RESULTS
    contents = io.BytesIO()
    pq.write_table(trials_table(folder.name, trials), contents)
    write_atomically(path, contents.getvalue())
    return path
