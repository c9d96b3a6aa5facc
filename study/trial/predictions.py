"""The prediction of every test or validation image in the file of a trial, and what follows."""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from study.config.trial_settings import Head
from study.protocols import Protocol
from study.protocols.protocol import Scores
from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS, VALIDATION, TrialFolder
from study.trial.study import Prediction

SCHEMA = pa.schema(
    [
        ("head", pa.string()),
        ("part", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("probability", pa.float32()),
        ("true_probability", pa.float32()),
        ("group", pa.string()),
        ("fold", pa.int32()),
    ]
)
"""The columns of a file of predictions, which are the fields of `Prediction`."""
BALANCED = "balanced"
"""The name of the score of balanced accuracies, which stands beside those of a protocol."""


def predictions_to_parquet(predictions: Iterable[Prediction]) -> bytes:
    """Return predictions as a Parquet file with the columns of `SCHEMA`."""
    rows = [prediction._asdict() for prediction in predictions]
    contents = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=SCHEMA),
        contents,
        compression="zstd",
        store_schema=False,
        # All paths differ, so that a dictionary of them would only take space.
        use_dictionary=["head", "part", "label", "predicted", "group"],
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
    contents = folder.read(name)  # which compares its checksum
    if contents is None:
        return []
    table = _table_of(contents, folder.path / name)
    return [Prediction(**row) for row in table.to_pylist() if head in (None, row["head"])]


def read_validation(trial: TrialFolder) -> pa.Table | None:
    """Return the predictions of a trial for validation images with the head that it is used with.

    An image may be in several folds, each with another model.

    Returns:
        None if the trial kept nothing, because it has not finished.

    Raises:
        FolderError: the file is damaged.
    """
    contents = trial.read(VALIDATION)
    if contents is None:
        return None
    table = _table_of(contents, trial.path / VALIDATION)
    reports = trial.read_reports()
    if not reports or "head" not in reports[-1]:
        raise FolderError(f"{trial.path} is damaged: its last report names no head")
    return table.filter(pc.equal(table["head"], reports[-1]["head"]))


def _table_of(contents: bytes, path: Path) -> pa.Table:
    """Return the table of a file of predictions."""
    try:
        return read_parquet(contents).select(SCHEMA.names)
    except (pa.ArrowException, KeyError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error


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
    groups: Mapping[Stratum, Sequence[str]] = field(default_factory=dict)
    """The group of each image, by part and class, in the same order, where an image without one has
    an empty text; empty if none has one."""


def outcomes_of(predictions: Iterable[Prediction]) -> Outcomes | None:
    """Return the outcomes of a trial's predictions; None if it kept none."""
    right = defaultdict(list)
    groups = defaultdict(list)
    digest = hashlib.sha256()
    for row in sorted(predictions, key=lambda row: (row.part, row.path, row.label)):
        stratum = (row.part, row.label)
        right[stratum].append(row.label == row.predicted)
        groups[stratum].append(row.group)
        digest.update(repr((row.part, row.path, row.label)).encode())
    if not right:
        return None
    if not any(map(any, groups.values())):
        groups.clear()
    return Outcomes(digest.hexdigest(), right, groups)


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


def trial_scores(predictions: Iterable[Prediction], protocol: Protocol) -> Scores:
    """Return the protocol's scores of the models of all tasks, as fractions; none without images.

    Each part is averaged over the tasks before the score is computed: a single fold is too noisy.
    Classes that count alike are averaged after the tasks, as a small class is not in every fold.

    Args:
        predictions: the predictions of all tasks with one head.
        protocol: the protocol of the trial.
    """
    hits = defaultdict(list)
    for one in predictions:
        stratum = one.part, one.label if protocol.class_averaged else ""
        hits[*stratum, one.fold].append(one.label == one.predicted)
    over_tasks = defaultdict(list)
    for (part, label, _), right in hits.items():
        over_tasks[part, label].append(sum(right) / len(right))
    of_part = defaultdict(list)
    for (part, _), accuracies in over_tasks.items():
        of_part[part].append(mean(accuracies))
    if not of_part:
        return {}
    return protocol.score({part: mean(values) for part, values in of_part.items()})


def scores_of_test(predictions: Collection[Prediction], protocol: Protocol) -> Scores:
    """Return the scores of `trial_scores`, and the `BALANCED` one of classes that count alike."""
    scores = trial_scores(predictions, protocol)
    if scores:
        scores[BALANCED] = trial_scores(predictions, protocol.balanced())["score"]
    return scores


def beats_chance(test_score: float, chance: float | None) -> bool:
    """Return whether a mean test score is above chance; it counts as above if chance is unknown.

    The test score decides although validation selects: a configuration that guesses
    on images that no selection has seen is of no use, whatever its validation score was.
    """
    # Equal accuracies differ by less: one is a quotient of counts, the other a mean over seeds.
    return chance is None or test_score > chance + 1e-9
