"""A study's ledger as Arrow tables: one row a trial, one row an epoch.

This module is the only place of the analysis that knows how the ledger lies on disk.
"""

import json
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from study.errors import DataError

logger = logging.getLogger(__name__)

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
    """What the ledger holds of one trial.

    Attributes:
        trial_id: name of the trial's folder.
        config: the trial's configuration.
        reports: epoch reports in the order of their epochs, one an epoch.
        end: how the trial ended, or None while it runs.
    """

    trial_id: str
    config: Mapping[str, Any]
    reports: tuple[Mapping[str, Any], ...]
    end: Mapping[str, Any] | None


def read_trials(folder: Path) -> Iterator[TrialFiles]:
    """Yield the trials of a study in the order of their ids.

    Raises:
        DataError: the folder holds no ledger, or a file of it is corrupt.
    """
    trials = folder / "trials"
    if not trials.is_dir():
        raise DataError(f"{folder}: no trials/ folder; expected the folder of a study (runs/NAME)")
    for path in sorted(entry for entry in trials.iterdir() if entry.is_dir()):
        if not (path / "config.json").is_file():
            logger.warning("%s has no config.json and is left out", path)
            continue
        yield TrialFiles(
            trial_id=path.name,
            config=_read_object(path / "config.json"),
            reports=_read_reports(path / "reports.jsonl"),
            end=_read_object(path / "end.json") if (path / "end.json").is_file() else None,
        )


def read_candidates(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The confirmed candidates as fixed by validation; empty before the confirm stage."""
    path = folder / "candidates.json"
    if not path.is_file():
        return ()
    candidates = _parse(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(candidates, list):
        raise DataError(f"{path}: expected a list of candidates, got {type(candidates).__name__}")
    return tuple(candidates)


def read_per_class(folder: Path, trial_id: str) -> dict[str, dict[str, float]]:
    """Accuracy per part and class name (fractions) of one trial; empty when none was kept."""
    path = folder / "trials" / trial_id / "per_class.json"
    return _read_object(path) if path.is_file() else {}


def read_results(folder: Path) -> pa.Table:
    """Read a study's folder into one row a trial.

    Scores are fractions. Validation numbers are those of the last epoch that reported any, which
    is the value the search was told. Test numbers are read for no trial of the search stage.

    Args:
        folder: the study's folder, `runs/NAME`.

    Returns:
        A table with `RESULTS_SCHEMA`.

    Raises:
        DataError: the folder holds no ledger, or a file of it is corrupt.
    """
    study = study_name(folder)
    return pa.Table.from_pylist(
        [_trial_row(study, trial) for trial in read_trials(folder)], schema=RESULTS_SCHEMA
    )


def read_epochs(folder: Path) -> pa.Table:
    """Read a study's folder into one row an epoch of a trial, with `EPOCHS_SCHEMA`."""
    study = study_name(folder)
    rows = [
        _epoch_row(study, trial, report)
        for trial in read_trials(folder)
        for report in trial.reports
    ]
    return pa.Table.from_pylist(rows, schema=EPOCHS_SCHEMA)


def write_results(folder: Path) -> Path:
    """Write `results.parquet` into the study's folder, whole or not at all; returns its path."""
    path = folder / RESULTS_FILE
    table = read_results(folder)
    write_atomically(path, lambda part: pq.write_table(table, part))
    return path


def study_name(folder: Path) -> str:
    """A study is called what its folder is called."""
    return folder.resolve().name


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then put the file in place.

    A reader sees the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        # mkstemp makes files private; results are for colleagues.
        part.chmod(0o644)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _trial_row(study: str, trial: TrialFiles) -> dict[str, Any]:
    config, end = trial.config, trial.end or {}
    validated = [r for r in trial.reports if any(r.get(c) is not None for c in VALIDATION_COLUMNS)]
    validation = validated[-1] if validated else {}
    last = trial.reports[-1] if trial.reports else {}
    tested = last if config.get("stage") != "search" else {}
    return {
        "study": study,
        "trial_id": trial.trial_id,
        **{name: config.get(name) for name in ("stage", "arm", "label", "number", "seed")},
        "status": end.get("status", "running"),
        "epochs": end.get("epochs", len(trial.reports)),
        "epochs_planned": config.get("epochs"),
        "subset": config.get("subset"),
        "subset_key": config.get("subset_key"),
        **{name: _number(config.get(name)) for name in ("bias_lr", "ln_lr", "distill_weight")},
        "trainable": config.get("trainable"),
        "seconds": _number(end.get("seconds")),
        **{name: _number(validation.get(name)) for name in VALIDATION_COLUMNS},
        **{name: _number(tested.get(name)) for name in TEST_COLUMNS},
        "reason": end.get("reason"),
        "error": end.get("error"),
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
    # A diverged trial reports NaN; a null cannot win a sort or poison a mean.
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def _read_reports(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    # Split as bytes: a torn line may end within a character.
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    if torn:
        logger.info("%s: the last line is torn and is left out", path)
    epochs: dict[int, Mapping[str, Any]] = {}
    for number, line in enumerate(whole.decode("utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        report = _parse(line, f"{path}, line {number}")
        if not isinstance(report, dict) or not isinstance(report.get("epoch"), int):
            raise DataError(f"{path}, line {number}: expected an object with an integer epoch")
        # A resumed trial repeats the epochs after its last checkpoint: the later report holds.
        epochs[report["epoch"]] = report
    return tuple(epochs[epoch] for epoch in sorted(epochs))


def _read_object(path: Path) -> dict[str, Any]:
    value = _parse(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON ({error})") from error
