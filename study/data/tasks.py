"""Tasks: the images that a model trains on, and those it is scored on.

Only `confirm_task` returns test images; the tasks of the search have none. Which of them a study
makes is the choice of its protocol, see `study.protocols`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.data.records import Dataset, Record, Records, listed, ordered_paths
from study.data.shots import Shots, canonical_line
from study.errors import DataError

FEWEST_CLASSES_FOR_FOLDS = 12
"""The fewest base classes for class folds; with fewer, they measured no better than chance."""

Scored = Mapping[str, tuple[int, ...]]
"""The classes of each part of a test, by its name; the classes of the first part are trained."""


@dataclass(frozen=True)
class Part:
    """Images that a model trains on or is scored on."""

    name: str
    """The name "train", or that of a score, such as "accuracy", "base" or a dataset's name."""
    records: Records
    """The images; every label is in `classes`."""
    classes: tuple[int, ...]
    """The labels whose class names are the possible answers."""


@dataclass(frozen=True)
class Task:
    """The images that one model trains on, and those it is scored on."""

    train: Part
    evaluations: tuple[Part, ...]

    def lines(self) -> list[str]:
        """Return canonical JSON lines, for the audit of a trial.

        Each part has a line with its name and classes, and then one line per image.
        """
        return [
            line
            for part in (self.train, *self.evaluations)
            for line in (
                canonical_line(classes=part.classes, part=part.name),
                *(canonical_line(label=r.label, path=r.path, part=part.name) for r in part.records),
            )
        ]

    @property
    def digest(self) -> str:
        """The SHA-256 of the lines, in hexadecimal."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()


def class_halves(labels: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Divide labels into base and new: base has the first ceil(n / 2) of the sorted labels."""
    ordered = tuple(sorted(set(labels)))
    middle = (len(ordered) + 1) // 2
    return ordered[:middle], ordered[middle:]


def all_classes(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Return the one part of a test that all classes make up."""
    return {"accuracy": tuple(range(len(dataset.class_names)))}


def refuse_one_class(dataset: Dataset, scored: Scored) -> None:
    """Refuse a test among one class, where accuracy is 1 whatever is trained.

    Raises:
        DataError: a part of the test has one class, or all its test images are of one.
    """
    tested = {record.label for record in dataset.test}
    for part, classes in ((part, set(classes)) for part, classes in scored.items()):
        if 1 in (len(classes), len(classes & tested)):
            each = f" in each of {listed(scored)}" if len(scored) > 1 else ""
            raise DataError(
                f"{dataset.name}: '{part}' would be tested on one class alone, "
                f"{dataset.class_names[min(classes & tested or classes)]!r}: whoever always "
                "answers it is right, whatever is trained; allowed are test images of 2 classes "
                f"or more{each}"
            )


def _in_classes(records: Iterable[Record], classes: Iterable[int]) -> Records:
    kept = frozenset(classes)
    return tuple(record for record in records if record.label in kept)


def holdout_tasks(
    shots: Shots, name: str, classes: tuple[int, ...], folds: int = 1
) -> tuple[Task, ...]:
    """Return one task, which is scored on the validation shots of the classes that it trains.

    Args:
        shots: the shots, without test images.
        name: the name of the scored part.
        classes: the classes that are trained.
        folds: ignored, since there is one task.

    Raises:
        DataError: the shots have no validation images.
    """
    if not (val := _in_classes(shots.val, classes)):
        raise DataError(
            f"{shots.dataset}: the shots have no validation images, so {name!r} cannot be scored; "
            "draw some, or select by folds"
        )
    train = Part("train", _in_classes(shots.train, classes), classes)
    return (Task(train, (Part(name, val, classes),)),)


def image_fold_tasks(
    shots: Shots, name: str, classes: tuple[int, ...], folds: int
) -> tuple[Task, ...]:
    """Return one task per fold of all shots; every class is in the training part of each.

    Args:
        shots: the shots, without test images; those to validate on are used like the others.
        name: the name of the scored part.
        classes: the classes that are trained.
        folds: the number of folds, which are stratified by class.

    Raises:
        DataError: there are too few folds, or images of a class.
    """
    ordered = ordered_paths(
        _in_classes((*shots.train, *shots.val), classes), f"folds of {shots.digest}"
    )
    least = min((len(paths) for paths in ordered.values()), default=0)
    if folds < 2 or least < 2:
        raise DataError(
            f"{shots.dataset}: {folds} folds over {least} images of the smallest class; "
            "allowed: at least 2 folds and 2 images a class"
        )
    fold_of = {
        Record(path, label): (position + turn) % folds
        for turn, (label, paths) in enumerate(ordered.items())
        for position, path in enumerate(paths)
    }
    if empty := folds - len(set(fold_of.values())):
        raise DataError(
            f"{shots.dataset}: {folds} folds over {len(fold_of)} images leave {empty} without any; "
            "allowed: fewer folds, or more shots"
        )
    return tuple(
        Task(
            Part("train", tuple(r for r, own in fold_of.items() if own != fold), classes),
            (Part(name, tuple(r for r, own in fold_of.items() if own == fold), classes),),
        )
        for fold in range(folds)
    )


def class_fold_tasks(
    shots: Shots, name: str, classes: tuple[int, ...], folds: int
) -> tuple[Task, ...]:
    """Return one task per fold of the classes, with the left-out classes as pseudo-new.

    All class names are possible answers in both scores. With only their own names as answers, the
    left-out classes are so easy that harmful configurations score as well as harmless ones.

    Args:
        shots: the shots, without test images.
        name: the name of the scored part of the kept classes; that of the left-out ones is "new".
        classes: the classes that are divided into folds.
        folds: the number of folds.

    Raises:
        DataError: there are too few classes, or no validation images.
    """
    if len(classes) < FEWEST_CLASSES_FOR_FOLDS or not 2 <= folds <= len(classes):
        raise DataError(
            f"{shots.dataset}: {folds} class folds over {len(classes)} base classes; allowed: at "
            f"least {FEWEST_CLASSES_FOR_FOLDS} base classes and between 2 folds and one a class"
        )
    tasks = []
    for fold in range(folds):
        # Leave out every n-th class, not a block: neighbours in the alphabet are similar.
        left_out = classes[fold::folds]
        kept = tuple(label for label in classes if label not in left_out)
        if not (seen := _in_classes(shots.val, kept)):
            raise DataError(f"{shots.dataset}: class folds need validation shots; got none")
        unseen = _in_classes((*shots.train, *shots.val), left_out)
        tasks.append(
            Task(
                Part("train", _in_classes(shots.train, kept), kept),
                (Part(name, seen, classes), Part("new", unseen, classes)),
            )
        )
    return tuple(tasks)


def confirm_task(
    dataset: Dataset, shots: Shots | None, scored: Scored, targets: Sequence[Dataset] = ()
) -> Task:
    """Return the task of the test: training on all shots, scores on the whole test split.

    Args:
        dataset: the dataset to train on.
        shots: the shots drawn from it; None means that the model is not trained.
        scored: the parts of its test images, each among its own classes.
        targets: further datasets to score on; each is a part with the dataset's name, classes and
            test images.

    Raises:
        DataError: if the shots belong to another dataset, lack a class or include test images, or
            if a part has no test images.
    """
    trained = next(iter(scored.values()))
    evaluations = (
        *(Part(name, _in_classes(dataset.test, own), own) for name, own in scored.items()),
        *(Part(t.name, t.test, all_classes(t)["accuracy"]) for t in targets),
    )
    if empty := [part.name for part in evaluations if not part.records]:
        raise DataError(f"{dataset.name}: no test images for {listed(empty)}")
    if shots is None:
        return Task(Part("train", (), trained), evaluations)
    check_shots(dataset, shots, trained)
    return Task(Part("train", _in_classes(shots.train, trained), trained), evaluations)


def check_shots(dataset: Dataset, shots: Shots, classes: Iterable[int]) -> None:
    """Check that the shots are the dataset's train or val images, with some of every class.

    Raises:
        DataError: if they are not, or a class has no training shot.
    """
    if shots.dataset != dataset.name:
        raise DataError(f"these shots are of {shots.dataset!r}, the dataset is {dataset.name!r}")
    own = {record.path: record.label for record in (*dataset.train, *dataset.val)}
    if strange := [r.path for r in (*shots.train, *shots.val) if own.get(r.path) != r.label]:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): not among its training and validation "
            f"images, or with another label: {listed(strange)}"
        )
    drawn_of = {record.label for record in shots.train}
    if absent := [dataset.class_names[label] for label in classes if label not in drawn_of]:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): no training image of {listed(absent)}; "
            "every class that is trained on needs one: is the file whole?"
        )
