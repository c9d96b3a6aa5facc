"""The tasks of each protocol: the images that a model trains on, and those it is scored on.

Only `confirm_task` returns test images; the tasks of the search have none.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from study.data.records import Dataset, Record, listed
from study.data.shots import Shots, ordered_paths, record_line
from study.errors import DataError

FEWEST_CLASSES_FOR_FOLDS = 12
"""The fewest base classes for class folds; with fewer, they measured no better than chance."""

ProtocolName = Literal["few_shot", "base_to_new", "transfer", "zero_shot"]
SelectionName = Literal["holdout", "folds", "class_folds", "base"]


@dataclass(frozen=True)
class Part:
    """Images that a model trains on or is scored on."""

    name: str
    """The name "train", or that of a score: "accuracy", "base", "new" or a transfer target."""
    records: tuple[Record, ...]
    """The images; every label is in `classes`."""
    classes: tuple[int, ...]
    """The labels whose class names are the possible answers."""

    def lines(self) -> list[str]:
        """Return canonical JSON lines: first the name and the classes, then one line per image."""
        head = {"classes": list(self.classes), "part": self.name}
        return [
            json.dumps(head, sort_keys=True, separators=(",", ":")),
            *(record_line(record, part=self.name) for record in self.records),
        ]


@dataclass(frozen=True)
class Task:
    """The images that one model trains on, and those it is scored on."""

    train: Part
    evaluations: tuple[Part, ...]

    def lines(self) -> list[str]:
        """Return the canonical JSON lines of all parts, for the audit of a trial."""
        return [line for part in (self.train, *self.evaluations) for line in part.lines()]

    @property
    def digest(self) -> str:
        """The SHA-256 of the lines, in hexadecimal."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()


def class_halves(labels: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divide labels into base and new: base has the first ceil(n / 2) of the sorted labels."""
    ordered = tuple(sorted(set(labels)))
    middle = (len(ordered) + 1) // 2
    return ordered[:middle], ordered[middle:]


def refuse_one_class(dataset: Dataset, protocol: ProtocolName) -> None:
    """Refuse a test among one class, where accuracy is 1 whatever is trained.

    Raises:
        DataError: the dataset has one class, base or new has, or all its test images are of one.
    """
    scored: dict[str, Iterable[int]] = {"accuracy": range(len(dataset.class_names))}
    if protocol == "base_to_new":
        base, new = class_halves(record.label for record in dataset.train)
        scored = {"base": base, "new": new}
    tested = {record.label for record in dataset.test}
    for part, classes in ((part, set(classes)) for part, classes in scored.items()):
        if 1 in (len(classes), len(classes & tested)):
            (only,) = classes if len(classes) == 1 else classes & tested
            half = " in either half of the classes" if protocol == "base_to_new" else ""
            raise DataError(
                f"{dataset.name}: '{part}' would be tested on one class alone, "
                f"{dataset.class_names[only]!r}: whoever always answers it is right, whatever is "
                f"trained; allowed are test images of 2 classes or more{half}"
            )


def _in_classes(records: Iterable[Record], classes: Iterable[int]) -> tuple[Record, ...]:
    kept = frozenset(classes)
    return tuple(record for record in records if record.label in kept)


def search_tasks(
    dataset: Dataset,
    shots: Shots,
    *,
    protocol: ProtocolName,
    selection: SelectionName,
    folds: int,
) -> tuple[Task, ...]:
    """Return the tasks that a configuration is selected on, without test images.

    Args:
        dataset: the dataset; the source dataset for "transfer".
        shots: the shots drawn from it.
        protocol: the protocol; "transfer" selects like "few_shot", on the source dataset alone.
        selection: "holdout" scores on the validation shots; "folds" rotates folds of all shots,
            stratified by class; "class_folds" rotates folds of the base classes, with the left-out
            classes as pseudo-new; "base" scores on the validation shots of the base classes.
        folds: the number of folds, with one task each.

    Raises:
        DataError: if the protocol does not allow the selection, the shots belong to another dataset
            or lack a class, or there are too few images or classes for the selection.
    """
    allowed: dict[str, tuple[str, ...]] = {
        "few_shot": ("holdout", "folds"),
        "transfer": ("holdout", "folds"),
        "base_to_new": ("class_folds", "base"),
    }
    if selection not in allowed.get(protocol, ()):
        raise DataError(
            f"protocol {protocol!r} cannot select by {selection!r}; "
            f"allowed: {', '.join(allowed.get(protocol, ())) or 'no selection'}"
        )
    if protocol == "base_to_new":
        name, classes = "base", class_halves(r.label for r in dataset.train)[0]
    else:
        name, classes = "accuracy", tuple(range(len(dataset.class_names)))
    _check_shots(dataset, shots, classes)
    if selection == "folds":
        return _image_folds(dataset, shots, folds)
    if selection == "class_folds":
        return _class_folds(dataset, shots, folds)
    val = _in_classes(shots.val, classes)
    if not val:
        raise DataError(
            f"{dataset.name}: the shots have no validation images, so {selection!r} cannot score; "
            "draw some, or select by folds"
        )
    train = Part("train", _in_classes(shots.train, classes), classes)
    return (Task(train, (Part(name, val, classes),)),)


def _image_folds(dataset: Dataset, shots: Shots, folds: int) -> tuple[Task, ...]:
    """Return one task per fold of all shots; every class is in the training part of each."""
    classes = tuple(range(len(dataset.class_names)))
    ordered = ordered_paths((*shots.train, *shots.val), f"folds of {shots.digest}")
    least = min((len(paths) for paths in ordered.values()), default=0)
    if folds < 2 or least < 2:
        raise DataError(
            f"{dataset.name}: {folds} folds over {least} images of the smallest class; "
            "allowed: at least 2 folds and 2 images a class"
        )
    fold_of = {
        Record(path, label): (position + turn) % folds
        for turn, (label, paths) in enumerate(ordered.items())
        for position, path in enumerate(paths)
    }
    return tuple(
        Task(
            Part("train", tuple(r for r, own in fold_of.items() if own != fold), classes),
            (Part("accuracy", tuple(r for r, own in fold_of.items() if own == fold), classes),),
        )
        for fold in range(folds)
    )


def _class_folds(dataset: Dataset, shots: Shots, folds: int) -> tuple[Task, ...]:
    """Return one task per fold of the base classes, with the left-out classes as pseudo-new.

    All base class names are possible answers in both scores. With only their own names as answers,
    the left-out classes are so easy that harmful configurations score as well as harmless ones.
    """
    base = class_halves(record.label for record in dataset.train)[0]
    if len(base) < FEWEST_CLASSES_FOR_FOLDS or not 2 <= folds <= len(base):
        raise DataError(
            f"{dataset.name}: {folds} class folds over {len(base)} base classes; allowed: at least "
            f"{FEWEST_CLASSES_FOR_FOLDS} base classes and between 2 folds and one a class"
        )
    tasks = []
    for fold in range(folds):
        # Leave out every n-th class, not a block: neighbours in the alphabet are similar.
        left_out = base[fold::folds]
        kept = tuple(label for label in base if label not in left_out)
        seen = _in_classes(shots.val, kept)
        if not seen:
            raise DataError(f"{dataset.name}: class folds need validation shots; got none")
        unseen = _in_classes((*shots.train, *shots.val), left_out)
        tasks.append(
            Task(
                Part("train", _in_classes(shots.train, kept), kept),
                (Part("base", seen, base), Part("new", unseen, base)),
            )
        )
    return tuple(tasks)


def confirm_task(
    dataset: Dataset,
    shots: Shots | None,
    *,
    protocol: ProtocolName,
    targets: Sequence[Dataset] = (),
) -> Task:
    """Return the final task: training on all training shots, scores on test images.

    No other function of this module returns test images.

    Args:
        dataset: the dataset; the source dataset for "transfer".
        shots: the shots drawn from it; None means a model that is not trained.
        protocol: the protocol; "base_to_new" scores base and new classes apart, the others score
            all classes together.
        targets: further datasets to score on ("transfer"); each is a part with the dataset's name,
            classes and test images.

    Raises:
        DataError: if the shots belong to another dataset, lack a class or include test images, or
            if a part has no test images.
    """
    every = tuple(range(len(dataset.class_names)))
    base, new = class_halves(r.label for r in dataset.train) if dataset.train else (every, ())
    if protocol == "base_to_new":
        if not new:
            raise DataError(f"{dataset.name}: base_to_new needs a training split of 2 classes")
        classes, parts = base, [("base", base), ("new", new)]
    else:
        classes, parts = every, [("accuracy", every)]
    evaluations = [Part(name, _in_classes(dataset.test, ids), ids) for name, ids in parts]
    for target in targets:
        ids = tuple(range(len(target.class_names)))
        evaluations.append(Part(target.name, target.test, ids))
    empty = [part.name for part in evaluations if not part.records]
    if empty:
        raise DataError(f"{dataset.name}: no test images for {listed(empty)}")
    if shots is not None:
        _check_shots(dataset, shots, classes if protocol != "zero_shot" else ())
    trained = shots.train if shots and protocol != "zero_shot" else ()
    return Task(Part("train", _in_classes(trained, classes), classes), tuple(evaluations))


def _check_shots(dataset: Dataset, shots: Shots, classes: Iterable[int]) -> None:
    """Check that the shots are the dataset's train or val images, with some of every class.

    Raises:
        DataError: if they are not, or a class has no training shot.
    """
    if shots.dataset != dataset.name:
        raise DataError(f"these shots are of {shots.dataset!r}, the dataset is {dataset.name!r}")
    own = {record.path: record.label for record in (*dataset.train, *dataset.val)}
    drawn = (*shots.train, *shots.val)
    strange = [record.path for record in drawn if own.get(record.path) != record.label]
    if strange:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): not among its training and validation "
            f"images, or with another label: {listed(strange)}"
        )
    drawn_of = {record.label for record in shots.train}
    absent = [dataset.class_names[label] for label in classes if label not in drawn_of]
    if absent:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): no training image of {listed(absent)}; "
            "every class that is trained on needs one: is the file whole?"
        )
