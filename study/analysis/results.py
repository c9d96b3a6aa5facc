"""A study's ledger as Arrow tables: one row per trial, and one row per epoch."""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.config.loading import load_config
from study.config.settings import Settings
from study.errors import DataError
from study.storage.atomic import write_atomically
from study.storage.ledger import End, StudyFolder
from study.trial.confusion import chance_level
from study.trial.study import read_candidates as read_candidates_of

RESULTS_FILE = "results.parquet"

_PARTS = ("score", "accuracy", "base", "new", "hmean")
VALIDATION_COLUMNS = tuple(f"val_{part}" for part in _PARTS)
TEST_COLUMNS = tuple(f"test_{part}" for part in _PARTS)

RESULTS_SCHEMA = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("label", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("epochs", pa.int64(), nullable=False),
        pa.field("epochs_planned", pa.int64()),
        pa.field("seed", pa.int64()),
        pa.field("subset", pa.string()),
        pa.field("subset_key", pa.string()),
        pa.field("bias_lr", pa.float64()),
        pa.field("ln_lr", pa.float64()),
        pa.field("distill_weight", pa.float64()),
        pa.field("trainable", pa.int64()),
        pa.field("seconds", pa.float64()),
        *(pa.field(name, pa.float64()) for name in VALIDATION_COLUMNS + TEST_COLUMNS),
        pa.field("chance", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("error", pa.string()),
    ]
)

_EPOCH_NUMBERS = (
    "train_loss",
    "cross_entropy",
    "distillation",
    *VALIDATION_COLUMNS,
    *TEST_COLUMNS,
    "bias_lr",
    "ln_lr",
    "images_per_second",
    "seconds",
)

EPOCHS_SCHEMA = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("label", pa.string()),
        pa.field("number", pa.int64()),
        pa.field("epoch", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in _EPOCH_NUMBERS),
    ]
)


@dataclass(frozen=True)
class TrialFiles:
    """What the ledger holds of one trial."""

    trial_id: str
    """The name of the trial's folder."""
    config: Mapping[str, Any]
    """The trial's configuration."""
    reports: tuple[Mapping[str, Any], ...]
    """The epoch reports in the order of their epochs, one per epoch."""
    end: End | None
    """How the trial ended; None means that it still runs."""


def open_study(folder: Path) -> StudyFolder:
    """Open the folder of a study.

    Raises:
        DataError: the folder holds no ledger.
    """
    if not (folder / "trials").is_dir():
        raise DataError(f"{folder}: no trials/ folder; expected the folder of a study (runs/NAME)")
    # Resolved, because a study has the name of its folder, and "." is no name.
    return StudyFolder(folder.resolve())


def read_trials(study: StudyFolder) -> Iterator[TrialFiles]:
    """Yield the trials of a study in the order of their ids."""
    for trial in study.trials():
        # Only the last report counts of an epoch that was reported twice because of a crash.
        epochs = {report["epoch"]: report for report in trial.reports}
        yield TrialFiles(
            trial_id=trial.trial_id,
            config=trial.config,
            reports=tuple(epochs[epoch] for epoch in sorted(epochs)),
            end=trial.end,
        )


def read_candidates(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the confirm stage's candidates, as fixed by validation; empty before that stage."""
    found = read_candidates_of(open_study(folder)) or ()
    return tuple({**c.model_dump(exclude={"settings"}), **c.settings.flat()} for c in found)


def read_earlier_choices(folder: Path) -> tuple[int, ...]:
    """Read how many search trials were behind each choice that was tested before an extension.

    Returns:
        The numbers, the oldest choice first; empty unless the search was extended.
    """
    extensions = open_study(folder).read_json("extensions.json") or ()
    return tuple(entry["from"] for entry in extensions if entry["candidates"])


def read_per_class(folder: Path, trial_id: str) -> dict[str, dict[str, float]]:
    """Read a trial's accuracies (fractions) by part and class name; empty when there are none."""
    return open_study(folder).read_json(f"trials/{trial_id}/per_class.json") or {}


def read_results(folder: Path) -> pa.Table:
    """Read a study's folder into one row per trial.

    Scores are fractions. Validation numbers are from the last epoch that reported any, as that is
    the value that the search received. Test numbers of search trials are never read. `chance` is
    the test score of always naming the largest class.

    Args:
        folder: the study's folder, `runs/NAME`.

    Returns:
        A table with `RESULTS_SCHEMA`, followed by a column ``test_NAME`` for each single dataset
        where a study tests several.

    Raises:
        DataError: the folder holds no ledger.
        LedgerError: a file of it is damaged.
    """
    study = open_study(folder)
    rows = [_trial_row(study.name, trial) for trial in read_trials(study)]
    if study.config_path.exists():
        protocol = load_config(study.config_path).protocol
        for row in rows:
            if row["test_score"] is not None:
                row["chance"] = chance_level(study, row["trial_id"], protocol)
    known = set(RESULTS_SCHEMA.names)
    more = dict.fromkeys(name for row in rows for name in row if name not in known)
    fields = [*RESULTS_SCHEMA, *(pa.field(name, pa.float64()) for name in more)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def target_columns(row: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's test scores on single datasets, where a study tests several."""
    return [name for name in row if name.startswith("test_") and name not in TEST_COLUMNS]


def read_epochs(folder: Path) -> pa.Table:
    """Read a study's folder into one row per trial and epoch, with `EPOCHS_SCHEMA`."""
    study = open_study(folder)
    rows = [
        _epoch_row(study.name, trial, report)
        for trial in read_trials(study)
        for report in trial.reports
    ]
    return pa.Table.from_pylist(rows, schema=EPOCHS_SCHEMA)


def write_results(folder: Path) -> Path:
    """Write `results.parquet` into the study's folder atomically, and return its path."""
    path = folder / RESULTS_FILE
    write_parquet(path, read_results(folder))
    return path


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table as a Parquet file atomically."""
    contents = io.BytesIO()
    pq.write_table(table, contents)
    write_atomically(path, contents.getvalue())


def _trial_row(study: str, trial: TrialFiles) -> dict[str, Any]:
    config, end = trial.config, trial.end
    validated = [r for r in trial.reports if any(r.get(c) is not None for c in VALIDATION_COLUMNS)]
    validation = validated[-1] if validated else {}
    last = trial.reports[-1] if trial.reports else {}
    tested = last if config.get("stage") != "search" else {}
    return {
        "study": study,
        "trial_id": trial.trial_id,
        **{name: config.get(name) for name in ("stage", "arm", "label", "number", "seed")},
        "status": end.status if end else "running",
        "epochs": end.epochs if end else len(trial.reports),
        "epochs_planned": config.get("epochs"),
        "subset_key": config.get("subset_key"),
        **Settings.as_written(config).flat(),
        "trainable": config.get("trainable"),
        "seconds": end.seconds if end else None,
        **{name: _number(validation.get(name)) for name in VALIDATION_COLUMNS},
        **{name: _number(tested.get(name)) for name in (*TEST_COLUMNS, *target_columns(tested))},
        "reason": end.cause if end else None,
        "error": end.error if end else None,
    }


def _epoch_row(study: str, trial: TrialFiles, report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "study": study,
        "trial_id": trial.trial_id,
        **{name: trial.config.get(name) for name in ("stage", "arm", "label", "number")},
        "epoch": report["epoch"],
        **{name: _number(report.get(name)) for name in _EPOCH_NUMBERS},
    }


def _number(value: Any) -> float | None:
    # A diverged trial reports NaN, which would spoil sorts and means; a null does not.
    if value is None or not math.isfinite(value):
        return None
    return float(value)
