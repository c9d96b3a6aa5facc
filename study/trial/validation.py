"""The prediction of every validation image, as a finished trial of a search keeps it."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from study.storage.ledger_files import LedgerError
from study.storage.trial_folder import VALIDATION, TrialFolder
from study.trial import Prediction, TrialData
from study.trial.predictions import COLUMNS, read_parquet, to_parquet

SCHEMA = pa.schema([("fold", pa.int32()), *COLUMNS, ("true_probability", pa.float32())])
"""The columns of the file. The same image may be in several folds, each with another model."""


def validation_to_parquet(predictions: Sequence[Prediction], data: TrialData) -> bytes:
    """Return the predictions of validation images as a Parquet file.

    Args:
        predictions: the predictions of all heads and tasks; those of a head are in the order of the
            tasks.
        data: the data of the trial, whose tasks are its folds.

    Raises:
        ValueError: the predictions are not of the images of the tasks.
    """
    folds = []
    for number, task in enumerate(data.tasks):
        folds += [number] * sum(len(part.records) for part in task.evaluations)
    if len(predictions) % max(1, len(folds)):
        raise ValueError(f"{len(predictions)} predictions of {len(folds)} images")
    rows = []
    for index, prediction in enumerate(predictions):
        rows.append(prediction._asdict() | {"fold": folds[index % len(folds)]})
    return to_parquet(rows, [*SCHEMA])


def read_validation(trial: TrialFolder) -> pa.Table | None:
    """Return the predictions of a trial for validation images, with the columns of `SCHEMA`.

    They are those with the head that the trial is used with.

    Returns:
        None if the trial kept nothing, because it has not finished.

    Raises:
        LedgerError: the file is damaged.
    """
    contents = trial.read(VALIDATION)
    if contents is None:
        return None
    try:
        table = read_parquet(contents)
        table.select(SCHEMA.names)  # which raises for a file that lacks one
        head = trial.read_reports()[-1]["head"]
        return table.filter(pc.equal(table["head"], head))
    except (pa.ArrowException, KeyError) as error:
        raise LedgerError(f"{trial.path / VALIDATION} is damaged: {error}") from error
