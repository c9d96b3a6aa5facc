"""The prediction of every test image, as a trial keeps it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from study.storage.ledger import PREDICTIONS, LedgerError, StudyFolder
from study.trial.schema import Prediction

_SCHEMA = pa.schema({**dict.fromkeys(Prediction._fields, pa.string()), "probability": pa.float32()})


def to_parquet(predictions: Iterable[Prediction]) -> bytes:
    """Return predictions as a Parquet file, with a column for each of their fields."""
    contents = io.BytesIO()
    rows = pa.Table.from_pylist([p._asdict() for p in predictions], schema=_SCHEMA)
    # Each path is another, so that a dictionary of them would only take space.
    repeated = ["part", "label", "predicted"]
    pq.write_table(rows, contents, compression="zstd", store_schema=False, use_dictionary=repeated)
    return contents.getvalue()


def read_predictions(folder: StudyFolder, trial_id: str) -> list[Prediction]:
    """Return the predictions of one trial; empty if it kept none, as in earlier versions.

    Raises:
        LedgerError: the file is damaged.
    """
    name = f"trials/{trial_id}/{PREDICTIONS}"
    contents = folder.read(name)
    if contents is None:
        return []
    try:
        columns = pq.read_table(io.BytesIO(contents)).to_pydict()
        return list(map(Prediction._make, zip(*columns.values(), strict=True)))
    except (pa.ArrowException, TypeError) as error:
        raise LedgerError(f"{folder.path / name} is damaged: {error}") from error
