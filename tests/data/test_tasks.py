import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from study.data.records import Record, Records
from study.data.shots import draw_shots
from study.data.tasks import (
    all_classes,
    class_fold_tasks,
    class_halves,
    holdout_tasks,
    image_fold_tasks,
    task_of_test,
)
from study.errors import DataError
from tests.paper_dataset import grouped, groups_of, make_paper_dataset

EVERY = tuple(range(24))
BASE, NEW = EVERY[:12], EVERY[12:]


def labels(records: Records) -> Counter[int]:
    """Count images a class."""
    return Counter(record.label for record in records)


def test_base_is_the_first_half_of_the_sorted_labels():
    assert class_halves([4, 0, 1, 2, 3, 0, 4]) == ((0, 1, 2), (3, 4))
    assert class_halves([7]) == ((7,), ())


DATASET = make_paper_dataset(classes=24)
"""12 base and 12 new classes."""
SHOTS = draw_shots(DATASET, shots=4, val_shots=3, seed=1)
"""Four shots of each class, and three to validate on."""
GROUPED = replace(SHOTS, train=grouped(SHOTS.train), val=grouped(SHOTS.val, 3))
"""The same shots; of each class two groups of training shots, and validation shots in one or two.

Some training and validation shots have a group in common."""


@pytest.mark.parametrize("folds", [3, 7])
def test_a_group_is_in_one_fold(folds: int):
    tasks = image_fold_tasks(GROUPED, "accuracy", EVERY, folds)
    for task in tasks:
        assert not groups_of(task.train.records) & groups_of(task.evaluations[0].records)
        assert labels(task.train.records).keys() == {*EVERY}
    lines = [task.lines() for task in image_fold_tasks(SHOTS, "accuracy", EVERY, 3)]
    assert "group" not in str(lines), "no byte changes without groups"
    one = replace(SHOTS, train=grouped(SHOTS.train, 4), val=())
    with pytest.raises(DataError, match=r"3 folds by groups have all shots .*expected shots of"):
        image_fold_tasks(one, "accuracy", EVERY, 3)


def test_a_left_out_class_has_no_group_of_the_trained_ones():
    writers = [replace(record, group=record.path[-5]) for record in (*SHOTS.train, *SHOTS.val)]
    shots = replace(SHOTS, train=tuple(writers[:96]), val=tuple(writers[96:]))
    for task in class_fold_tasks(replace(shots, val=grouped(SHOTS.val)), "seen", EVERY, 3):
        unseen = task.evaluations[1].records
        assert unseen
        assert not groups_of(task.train.records) & groups_of(unseen)


def test_folds_score_every_shot_once_and_train_on_the_rest():
    tasks = image_fold_tasks(SHOTS, "accuracy", EVERY, 3)
    pooled = Counter((*SHOTS.train, *SHOTS.val))
    scored = [task.evaluations[0] for task in tasks]
    assert sum((Counter(part.records) for part in scored), Counter()) == pooled
    assert [len(part.records) for part in scored] == [56, 56, 56]
    for task, part in zip(tasks, scored, strict=True):
        assert Counter(task.train.records) == pooled - Counter(part.records)
        assert {*labels(task.train.records)} == {*EVERY}
        assert {*labels(part.records).values()} <= {2, 3}
        assert task.train.classes == part.classes == EVERY


def test_class_folds_rotate_thirds_of_the_base_classes():
    left: list[int] = []
    for task in class_fold_tasks(SHOTS, "base", BASE, 3):
        seen, unseen = task.evaluations
        assert (seen.name, unseen.name, len(task.train.classes)) == ("base", "new", 8)
        assert [len(part.records) for part in (task.train, seen, unseen)] == [32, 24, 28]
        assert seen.classes == unseen.classes == BASE
        kept = {*task.train.classes}
        assert {*labels(task.train.records)} == {*labels(seen.records)} == kept
        assert {*labels(unseen.records)} == {*BASE} - kept
        assert {*seen.records} <= {*SHOTS.val}
        left += labels(unseen.records)
    assert sorted(left) == [*BASE]


def test_a_selection_without_images_to_score_or_too_few_classes_is_refused():
    bare = draw_shots(DATASET, shots=1, val_shots=0, seed=1)
    with pytest.raises(DataError, match="no validation images"):
        holdout_tasks(bare, "accuracy", EVERY)
    with pytest.raises(DataError, match="need validation shots"):
        class_fold_tasks(bare, "base", BASE, 3)
    with pytest.raises(DataError, match="3 class folds over 11 base classes"):
        class_fold_tasks(bare, "base", BASE[1:], 3)
    with pytest.raises(DataError, match="2 folds over 1 images"):
        image_fold_tasks(bare, "accuracy", EVERY, 2)


def test_shots_that_are_not_the_datasets_or_of_the_test_split_and_no_test_are_refused():
    relabelled = Record(DATASET.train[0].path, 5)
    for wrong, message in (
        (replace(SHOTS, train=DATASET.test[:2]), "test/0/0"),
        (replace(SHOTS, val=(relabelled,)), "label"),
    ):
        with pytest.raises(DataError, match=message):
            task_of_test(DATASET, wrong, all_classes(DATASET))
    with pytest.raises(DataError, match="no test images for 'accuracy'"):
        task_of_test(replace(DATASET, test=()), None, all_classes(DATASET))


def test_a_tasks_lines_and_digest_say_which_images_and_classes_it_used():
    task = task_of_test(DATASET, SHOTS, {"base": BASE, "new": NEW})
    lines = [json.loads(line) for line in task.lines()]
    assert lines[0] == {"part": "train", "classes": [*BASE]}
    images = [line["path"] for line in lines if line["part"] == "new" and "path" in line]
    assert images == [record.path for record in task.evaluations[1].records]
    assert task.digest == hashlib.sha256("\n".join(task.lines()).encode()).hexdigest()
