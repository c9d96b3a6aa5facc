"""The prediction of every test or validation image in the file of a trial, and what follows."""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.config.trial_settings import Head
from study.storage.result_folder import FolderError, JsonObject
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS, VALIDATION, TrialFolder
from study.trial.study import Prediction

COLUMNS = [
    ("head", pa.string()),
    ("part", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("predicted", pa.string()),
    ("probability", pa.float32()),
]
"""The columns of every file of predictions; those behind them are of some trials alone."""
_COMPETITION_COLUMNS = [("right_of_kind", pa.bool_()), ("gap", pa.float32())]
_GROUP_COLUMNS = [("group", pa.string())]
VALIDATION_COLUMNS = [("fold", pa.int32()), *COLUMNS, ("true_probability", pa.float32())]
"""Those of validation images. One may be in several folds, each with another model."""


def predictions_to_parquet(predictions: Iterable[Prediction]) -> bytes:
    """Return predictions as a Parquet file, with a column for each of their fields.

    Where no names compete, there are no columns of the competition, and only images with groups
    have theirs.
    """
    values = [prediction._asdict() for prediction in predictions]
    columns = [*COLUMNS]
    for further in (_COMPETITION_COLUMNS, _GROUP_COLUMNS):
        name, _ = further[0]
        if any(value[name] not in (None, "") for value in values):
            columns += further
    return _to_parquet(values, columns)


def validation_to_parquet(predictions: Iterable[Prediction]) -> bytes:
    """Return predictions of validation images as a Parquet file with `VALIDATION_COLUMNS`."""
    return _to_parquet([prediction._asdict() for prediction in predictions], VALIDATION_COLUMNS)


def _to_parquet(rows: Sequence[JsonObject], columns: Sequence[Any]) -> bytes:
    """Return rows as a Parquet file, which has some of their fields as columns.

    Args:
        rows: the rows.
        columns: the names and types of the columns.
    """
    table = pa.Table.from_pylist(rows, schema=pa.schema(columns))
    contents = io.BytesIO()
    pq.write_table(
        table,
        contents,
        compression="zstd",
        store_schema=False,
        # All paths differ, so that a dictionary of them would only take space.
        use_dictionary=["head", "part", "label", "predicted"],
    )
    return contents.getvalue()


def read_parquet(contents: bytes) -> pa.Table:
    """Return the table of a Parquet file that is in memory.

    It is read by this thread alone. `pq.read_table` leaves buffers to threads of Arrow's, which
    abort a process that ends meanwhile (apache/arrow#33975).

    Raises:
        pa.ArrowException: it is no Parquet file, or damaged.
    """
    with pq.ParquetFile(pa.BufferReader(contents)) as file:
        return file.read(use_threads=False)


def read_predictions(
    folder: StudyFolder, trial_id: str, head: Head | None = None
) -> list[Prediction]:
    """Return the predictions of a trial with a head, or with all of them; empty if it kept none.

    Raises:
        FolderError: the file is damaged.
    """
    name = f"trials/{trial_id}/{PREDICTIONS}"
    contents = folder.read(name)
    if contents is None:
        return []
    try:
        rows = read_parquet(contents).to_pylist()
        return [Prediction(**row) for row in rows if head in (None, row["head"])]
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise FolderError(f"{folder.path / name} is damaged: {error}") from error


def read_validation(trial: TrialFolder) -> pa.Table | None:
    """Return the predictions of a trial for validation images with `VALIDATION_COLUMNS`.

    They are those with the head that the trial is used with.

    Returns:
        None if the trial kept nothing, because it has not finished.

    Raises:
        FolderError: the file is damaged.
    """
    contents = trial.read(VALIDATION)
    if contents is None:
        return None
    try:
        # Raises for a file that lacks a column.
        table = read_parquet(contents).select([name for name, _ in VALIDATION_COLUMNS])
        return table.filter(pc.equal(table["head"], trial.read_reports()[-1]["head"]))
    except (pa.ArrowException, KeyError) as error:
        raise FolderError(f"{trial.path / VALIDATION} is damaged: {error}") from error


Stratum = tuple[str, str]
"""The name of a part, and of a class of its images."""
Confusion = Counter[tuple[str, str, str]]
"""The number of images by the name of their part, of their class and of the predicted class."""


def confusion_of(predictions: Iterable[Prediction]) -> Confusion:
    """Return the counts of a trial's predictions; empty if it kept none."""
    return Counter((p.part, p.label, p.predicted) for p in predictions)


@dataclass(frozen=True)
class Outcomes:
    """The test images that a trial predicted rightly."""

    images: str
    """A hash of the images' parts, classes and paths; equal for trials of the same images."""
    right: Mapping[Stratum, Sequence[bool]]
    """Whether each image is predicted rightly, by part and class, in the order of the paths."""
    competing: Mapping[Stratum, Sequence[tuple[bool, float]]] = field(default_factory=dict)
    """`Prediction.right_of_kind` and ``gap`` of each image, by part and class, in the same order.

    Empty where no names compete."""
    groups: Mapping[Stratum, Sequence[str]] = field(default_factory=dict)
    """The group of each image, by part and class, in the same order, where an image without one has
    an empty text; empty if none has one."""


def outcomes_of(predictions: Iterable[Prediction]) -> Outcomes | None:
    """Return the outcomes of a trial's predictions; None if it kept none."""
    right = defaultdict(list)
    competing = defaultdict(list)
    groups = defaultdict(list)
    digest = hashlib.sha256()
    for row in sorted(predictions, key=lambda row: (row.part, row.path, row.label)):
        stratum = (row.part, row.label)
        right[stratum].append(row.label == row.predicted)
        if row.right_of_kind is not None and row.gap is not None:
            competing[stratum].append((row.right_of_kind, row.gap))
        groups[stratum].append(row.group)
        digest.update(repr((row.part, row.path, row.label)).encode())
    if not right:
        return None
    if not any(map(any, groups.values())):
        groups.clear()
    return Outcomes(digest.hexdigest(), right, competing, groups)


def images_of(confusion: Confusion) -> Counter[Stratum]:
    """Return the number of images by the name of their part and of their class."""
    images: Counter[Stratum] = Counter()
    for (part, true, _), number in confusion.items():
        images[part, true] += number
    return images


def mean(accuracies: Sequence[float]) -> float:
    """Return the average over tasks, rounded so that equal averages are equal numbers.

    Ties between trials are then broken by their rule. Without rounding, folds with 41, 46, 47 and
    47 of 50 correct average to less than folds with 45, 45, 45 and 46.
    """
    return round(sum(accuracies) / len(accuracies), 12)


def beats_chance(test_score: float, chance: float | None) -> bool:
    """Return whether a mean test score is above chance; it counts as above if chance is unknown.

    The test score decides although the choice is made by validation: a configuration that guesses
    on images that no choice has seen is of no use, whatever its validation score was.
    """
    # Equal accuracies differ by less: one is a quotient of counts, the other a mean over seeds.
    return chance is None or test_score > chance + 1e-9
