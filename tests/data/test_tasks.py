import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from study.data.datasets import Dataset, Record
from study.data.shots import Shots, draw_shots, make_shots
from study.data.tasks import (
    Task,
    all_classes,
    check_shots,
    class_fold_tasks,
    class_halves,
    confirm_task,
    holdout_tasks,
    image_fold_tasks,
)
from study.errors import DataError

Make = Callable[..., Dataset]
EVERY = tuple(range(24))
BASE, NEW = EVERY[:12], EVERY[12:]


def labels(records: tuple[Record, ...]) -> Counter[int]:
    """Count images a class."""
    return Counter(record.label for record in records)


@pytest.mark.parametrize(
    ("labels", "base", "new"),
    [
        ([3, 1, 2, 0], (0, 1), (2, 3)),
        ([4, 0, 1, 2, 3, 0, 4], (0, 1, 2), (3, 4)),
        ([7], (7,), ()),
        ([9, 2, 5], (2, 5), (9,)),
        ([], (), ()),
    ],
)
def test_base_is_the_first_half_of_the_sorted_labels(
    labels: list[int], base: tuple[int, ...], new: tuple[int, ...]
) -> None:
    assert class_halves(labels) == (base, new)


def parts(task: Task) -> list[tuple[str, int, int]]:
    """Give name, images and competing classes of every part."""
    return [(p.name, len(p.records), len(p.classes)) for p in (task.train, *task.evaluations)]


@pytest.fixture
def dataset(paper_dataset: Make) -> Dataset:
    """24 classes: 12 base, 12 new."""
    return paper_dataset(classes=24)


@pytest.fixture
def shots(dataset: Dataset) -> Shots:
    """Four shots of each class, and three to validate on."""
    return draw_shots(dataset, shots=4, val_shots=3, seed=1)


def test_holdout_scores_on_the_validation_shots(shots: Shots) -> None:
    (task,) = holdout_tasks(shots, "accuracy", EVERY)
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert (task.train.records, task.evaluations[0].records) == (shots.train, shots.val)


def test_folds_score_every_shot_once_and_train_on_the_rest(shots: Shots) -> None:
    tasks = image_fold_tasks(shots, "accuracy", EVERY, 3)
    pooled = Counter((*shots.train, *shots.val))
    assert sum((Counter(t.evaluations[0].records) for t in tasks), Counter()) == pooled
    for task in tasks:
        scored = task.evaluations[0]
        assert Counter(task.train.records) + Counter(scored.records) == pooled
        assert labels(task.train.records).keys() == set(range(24))
        assert set(labels(scored.records).values()) <= {2, 3}
        assert len(task.train.classes) == len(scored.classes) == 24
    assert tasks == image_fold_tasks(shots, "accuracy", EVERY, 3)


def test_class_folds_rotate_thirds_of_the_base_classes(shots: Shots) -> None:
    tasks = class_fold_tasks(shots, "base", BASE, 3)
    base = tuple(range(12))
    left: list[int] = []
    for task in tasks:
        assert parts(task) == [("train", 32, 8), ("base", 24, 12), ("new", 28, 12)]
        seen, unseen = task.evaluations
        assert seen.classes == unseen.classes == base
        kept = set(task.train.classes)
        assert labels(task.train.records).keys() == labels(seen.records).keys() == kept
        assert labels(unseen.records).keys() == set(base) - kept
        assert set(seen.records) <= set(shots.val)
        left += labels(unseen.records)
    assert sorted(left) == list(base)


def test_class_folds_need_twelve_base_classes(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=22)
    shots = draw_shots(dataset, shots=2, seed=1)
    with pytest.raises(DataError, match="3 class folds over 11 base classes"):
        class_fold_tasks(shots, "base", tuple(range(11)), 3)


def test_a_selection_without_images_to_score_is_refused(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=24)
    bare = draw_shots(dataset, shots=1, val_shots=0, seed=1)
    with pytest.raises(DataError, match="no validation images"):
        holdout_tasks(bare, "accuracy", EVERY)
    with pytest.raises(DataError, match="need validation shots"):
        class_fold_tasks(bare, "base", BASE, 3)
    with pytest.raises(DataError, match="2 folds over 1 images"):
        image_fold_tasks(bare, "accuracy", EVERY, 2)


def test_a_split_without_test_images_is_named(paper_dataset: Make) -> None:
    dataset = paper_dataset(test=0)
    with pytest.raises(DataError, match="no test images for 'accuracy'"):
        confirm_task(dataset, None, all_classes(dataset))


def test_shots_of_another_dataset_or_of_the_test_split_are_refused(
    dataset: Dataset, shots: Shots
) -> None:
    other = replace(shots, dataset="other")
    leaked = make_shots("paper", 1, 1, dataset.test[:2], shots.val)
    relabelled = make_shots("paper", 1, 1, [Record(dataset.train[0].path, 5)], shots.val)
    for wrong, told in (
        (other, "shots are of 'other'"),
        (leaked, "test/0/0"),
        (relabelled, "label"),
    ):
        with pytest.raises(DataError, match=told):
            confirm_task(dataset, wrong, all_classes(dataset))
        with pytest.raises(DataError, match=told):
            check_shots(dataset, wrong, EVERY)


def test_a_tasks_digest_tells_its_images_and_its_classes(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, all_classes(dataset))
    assert task.digest == confirm_task(dataset, shots, all_classes(dataset)).digest
    fewer = replace(task, train=replace(task.train, records=task.train.records[1:]))
    narrower = replace(task, train=replace(task.train, classes=task.train.classes[1:]))
    assert len({task.digest, fewer.digest, narrower.digest}) == 3


def test_a_tasks_lines_say_which_images_and_classes_it_used(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, {"base": BASE, "new": NEW})
    lines = [json.loads(line) for line in task.lines()]
    assert lines[0] == {"part": "train", "classes": list(range(12))}
    assert {line["part"] for line in lines} == {"train", "base", "new"}
    images = [line["path"] for line in lines if line["part"] == "new" and "path" in line]
    assert images == [record.path for record in task.evaluations[1].records]
