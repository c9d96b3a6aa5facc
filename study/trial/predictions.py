"""The prediction of every test image, as a trial keeps it, and what guessing would score."""

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from study.protocols import Protocol
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS
from study.trial.study import Prediction

_COMPETING = {"right_of_kind": pa.bool_(), "gap": pa.float32()}
_TYPES = {
    **dict.fromkeys(Prediction._fields, pa.string()),
    **{"probability": pa.float32(), **_COMPETING},
}


def to_parquet(predictions: Iterable[Prediction]) -> bytes:
    """Return predictions as a Parquet file, with a column for each of their fields.

    Where no names compete, there are no columns for that.
    """
    contents = io.BytesIO()
    values = [p._asdict() for p in predictions]
    left_out = () if any(p["gap"] is not None for p in values) else _COMPETING
    kept = pa.schema({name: kind for name, kind in _TYPES.items() if name not in left_out})
    rows = pa.Table.from_pylist(values, schema=kept)
    pq.write_table(
        rows,
        contents,
        compression="zstd",
        store_schema=False,
        # Each path is another, so that a dictionary of them would only take space.
        use_dictionary=["part", "label", "predicted"],
    )
    return contents.getvalue()


def read_predictions(folder: StudyFolder, trial_id: str) -> list[Prediction]:
    """Return the predictions of one trial; empty if it kept none.

    Raises:
        LedgerError: the file is damaged.
    """
    name = f"trials/{trial_id}/{PREDICTIONS}"
    if (contents := folder.read(name)) is None:
        return []
    try:
        columns = pq.read_table(io.BytesIO(contents)).to_pydict()
        return list(map(Prediction, *columns.values()))
    except (pa.ArrowException, TypeError) as error:
        raise LedgerError(f"{folder.path / name} is damaged: {error}") from error


Confusion = Counter[tuple[str, str, str]]
"""The number of images by the name of their part, of their class and of the predicted class."""


def confusion_of(predictions: Iterable[Prediction]) -> Confusion:
    """Return the counts of a trial's predictions; empty when it kept none."""
    return Counter((p.part, p.label, p.predicted) for p in predictions)


@dataclass(frozen=True)
class Outcomes:
    """Which test images a trial took for what they are."""

    images: str
    """A hash of the images' parts, classes and paths: equal for trials of the same images."""
    right: Mapping[tuple[str, str], tuple[bool, ...]]
    """Whether each image is predicted rightly, by part and class, in the order of the paths."""
    competing: Mapping[tuple[str, str], tuple[tuple[bool, float], ...]] = field(
        default_factory=dict
    )
    """Of each image `Prediction.right_of_kind` and ``gap``, alike; empty where none is known."""


def outcomes_of(predictions: Iterable[Prediction]) -> Outcomes | None:
    """Return what is right among the predictions of a trial; None if it kept none."""
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    competing: dict[tuple[str, str], list[tuple[bool, float]]] = defaultdict(list)
    digest = hashlib.sha256()
    for one in sorted(predictions, key=lambda p: p[:5]):
        stratum = one.part, one.label
        right[stratum].append(one.label == one.predicted)
        if one.right_of_kind is not None and one.gap is not None:
            competing[stratum].append((one.right_of_kind, one.gap))
        digest.update(repr((one.part, one.path, one.label)).encode())
    if not right:
        return None
    return Outcomes(
        digest.hexdigest(),
        {stratum: tuple(own) for stratum, own in right.items()},
        {stratum: tuple(own) for stratum, own in competing.items()},
    )


def images_of(confusion: Confusion) -> Counter[tuple[str, str]]:
    """Return the number of images by the name of their part and of their class."""
    images: Counter[tuple[str, str]] = Counter()
    for (part, true, _), number in confusion.items():
        images[part, true] += number
    return images


def mean(accuracies: Sequence[float]) -> float:
    """Return the average over tasks, rounded so that equal averages are equal numbers.

    Ties between trials are then broken by their rule. Without rounding, folds with 41, 46, 47 and
    47 of 50 correct average to less than folds with 45, 45, 45 and 46.
    """
    return round(sum(accuracies) / len(accuracies), 12)


def chance_level(confusion: Confusion, protocol: Protocol) -> float | None:
    """Return what a trial would have scored on test by guessing, see `Protocol.chance`.

    Parts make up this score as their accuracies make up a trial's.

    Args:
        confusion: what `confusion_of` returned of the trial.
        protocol: the study's protocol.

    Returns:
        The score, a fraction; None when the trial kept no counts.
    """
    sizes: dict[str, list[int]] = defaultdict(list)
    for (part, _), number in images_of(confusion).items():
        sizes[part].append(number)
    if not sizes:
        return None
    shares = {part: mean([share]) for part, share in protocol.chance(sizes).items()}
    return protocol.score(shares)["score"]


def beats_chance(test_score: float, chance: float | None) -> bool:
    """Return whether a mean test score is above chance; if chance is unknown, it counts as above.

    The test score decides although the choice is made by validation: what guesses as well on images
    that no choice has seen is of no use, whatever it scored before.
    """
    # Equal accuracies differ by less: one is a quotient of counts, the other a mean over seeds.
    return chance is None or test_score > chance + 1e-9
