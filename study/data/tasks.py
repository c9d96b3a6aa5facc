"""Tasks: the images that a model trains on, and the images on which it is scored.

Only `task_of_test` returns test images; the tasks of the search have none. The protocol of a study
chooses among these tasks, see `study.protocols`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.data.records import Dataset, Record, Records, listed, ordered_records
from study.data.shots import Shots, canonical_line, record_line
from study.data.splits import assign_folds, without_groups_of
from study.errors import DataError
from study.storage.atomic import sha256_of

FEWEST_CLASSES_FOR_FOLDS = 12
"""The fewest base classes for class folds; with fewer, they measured no better than chance."""

Classes = tuple[int, ...]
"""The labels of classes."""
Scored = Mapping[str, Classes]
"""The classes of each part of a test, by its name; the classes of the first part are trained."""


@dataclass(frozen=True)
class Part:
    """Images that a model trains on or is scored on."""

    name: str
    """The name "train", or that of a score, such as "accuracy", "base" or a dataset's name."""
    records: Records
    """The images; every label is in `classes`."""
    classes: Classes
    """The labels whose class names are the possible answers."""

    @property
    def paths(self) -> list[str]:
        """The paths of the images in their table."""
        return [record.path for record in self.records]


@dataclass(frozen=True)
class Task:
    """The images that one model trains on, and those it is scored on."""

    train: Part
    evaluations: tuple[Part, ...]

    def lines(self) -> list[str]:
        """Return canonical JSON lines, for the audit of a trial.

        Each part has a line with its name and classes, and then one line per image.
        """
        lines = []
        for part in (self.train, *self.evaluations):
            lines.append(canonical_line(classes=part.classes, part=part.name))
            for record in part.records:
                lines.append(record_line(record, part=part.name))
        return lines

    @property
    def digest(self) -> str:
        """The SHA-256 of the lines, in hexadecimal."""
        return sha256_of("\n".join(self.lines()).encode())


Tasks = tuple[Task, ...]
"""Several tasks, one model each."""


def class_halves(labels: Iterable[int]) -> tuple[Classes, Classes]:
    """Divide labels into base and new: base has the first ceil(n / 2) of the sorted labels."""
    ordered = tuple(sorted(set(labels)))
    middle = (len(ordered) + 1) // 2
    return ordered[:middle], ordered[middle:]


def all_classes(dataset: Dataset) -> dict[str, Classes]:
    """Return the only part of a test that covers all classes, by its name "accuracy"."""
    return {"accuracy": tuple(range(len(dataset.class_names)))}


def refuse_one_class(dataset: Dataset, scored: Scored) -> None:
    """Refuse a test among one class, where accuracy is 1 whatever is trained.

    Raises:
        DataError: a part of the test has one class, or all its test images are of one.
    """
    tested = {record.label for record in dataset.test}
    for part, classes in scored.items():
        present = tested.intersection(classes)
        if len(set(classes)) != 1 and len(present) != 1:
            continue
        label = min(present or classes)
        each = ""
        if len(scored) > 1:
            each = f" in each of {listed(scored)}"
        raise DataError(
            f"{dataset.name}: '{part}' would be tested on one class alone, "
            f"{dataset.class_names[label]!r}, so every model "
            "would be right; expected test images of 2 classes "
            f"or more{each}"
        )


def in_classes(records: Iterable[Record], classes: Iterable[int]) -> Records:
    """Return the images that are of some classes."""
    labels = frozenset(classes)
    return tuple(record for record in records if record.label in labels)


def holdout_tasks(shots: Shots, name: str, classes: Classes, folds: int = 1) -> Tasks:
    """Return one task, which is scored on the validation shots of the classes that it trains.

    Args:
        shots: the shots, without test images.
        name: the name of the scored part.
        classes: the classes that are trained.
        folds: ignored, since there is one task.

    Raises:
        DataError: the shots have no validation images.
    """
    val = in_classes(shots.val, classes)
    if not val:
        raise DataError(
            f"{shots.dataset}: the shots have no validation images, so {name!r} cannot be scored; "
            "draw some, or use cross-validation"
        )
    train = Part("train", in_classes(shots.train, classes), classes)
    return (Task(train, (Part(name, val, classes),)),)


def image_fold_tasks(shots: Shots, name: str, classes: Classes, folds: int) -> Tasks:
    """Return one task per fold of all shots; every class is in the training part of each.

    Args:
        shots: the shots, without test images; the validation shots are used like the others.
        name: the name of the scored part.
        classes: the classes that are trained.
        folds: the number of folds, which are stratified by class.

    Raises:
        DataError: there are too few folds, or too few images of a class.
    """
    records = in_classes(shots.train + shots.val, classes)
    key = f"folds of {shots.digest}"
    ordered = ordered_records(records, key)
    least = min((len(images) for images in ordered.values()), default=0)
    if folds < 2 or least < 2:
        raise DataError(
            f"{shots.dataset}: {folds} folds over {least} images of the smallest class; "
            "expected at least 2 folds and 2 images per class"
        )
    fold_of = assign_folds(records, folds, key)
    for images in ordered.values():
        if len({fold_of[record] for record in images}) < 2:
            raise DataError(
                f"{shots.dataset}: {folds} folds by groups have all shots of the class of "
                f"{images[0].path!r} in one, and no model would be trained to know it there; "
                "expected shots of 2 groups or more of each class"
            )
    empty = folds - len(set(fold_of.values()))
    if empty:
        raise DataError(
            f"{shots.dataset}: {folds} folds over {len(fold_of)} images leave {empty} without any; "
            "use fewer folds or more shots"
        )
    tasks = []
    for fold in range(folds):
        trained = tuple(record for record, number in fold_of.items() if number != fold)
        held_out = tuple(record for record, number in fold_of.items() if number == fold)
        train = Part("train", trained, classes)
        tasks.append(Task(train, (Part(name, held_out, classes),)))
    return tuple(tasks)


def class_fold_tasks(shots: Shots, name: str, classes: Classes, folds: int) -> Tasks:
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
            f"{shots.dataset}: {folds} class folds over {len(classes)} base classes; expected at "
            f"least {FEWEST_CLASSES_FOR_FOLDS} base classes and between 2 folds and one a class"
        )
    tasks = []
    for fold in range(folds):
        # Leave out every n-th class, not a block: neighbours in the alphabet are similar.
        left_out = classes[fold::folds]
        base = tuple(label for label in classes if label not in left_out)
        train = Part("train", in_classes(shots.train, base), base)
        seen = in_classes(shots.val, base)
        unseen = without_groups_of(in_classes(shots.train + shots.val, left_out), train.records)
        if not seen or not unseen:
            raise DataError(f"{shots.dataset}: class folds need validation shots; got none")
        tasks.append(Task(train, (Part(name, seen, classes), Part("new", unseen, classes))))
    return tuple(tasks)


def task_of_test(
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
        DataError: if the shots are of another dataset or include test images, or lack a class, or
            if a part has no test images.
    """
    evaluations = [
        Part(name, in_classes(dataset.test, classes), classes) for name, classes in scored.items()
    ]
    for target in targets:
        classes = all_classes(target)["accuracy"]
        evaluations.append(Part(target.name, target.test, classes))
    empty = [part.name for part in evaluations if not part.records]
    if empty:
        raise DataError(f"{dataset.name}: no test images for {listed(empty)}")
    trained = next(iter(scored.values()))
    records: Records = ()
    if shots is not None:
        check_shots(dataset, shots, trained)
        records = in_classes(shots.train, trained)
    return Task(Part("train", records, trained), tuple(evaluations))


def check_shots(dataset: Dataset, shots: Shots, classes: Iterable[int]) -> None:
    """Check that the shots are the dataset's train or val images, with some of every class.

    Raises:
        DataError: if they are not, or a class has no training shot.
    """
    pool = set(dataset.train + dataset.val)
    unknown = [record.path for record in shots.train + shots.val if record not in pool]
    if unknown:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): not among its training and validation "
            f"images, or with another label: {listed(unknown)}"
        )
    trained_labels = {record.label for record in shots.train}
    absent = [dataset.class_names[label] for label in classes if label not in trained_labels]
    if absent:
        raise DataError(
            f"shots of {dataset.name} (seed {shots.seed}): no training image of {listed(absent)}; "
            "every class that is trained on needs one: is the file complete?"
        )
