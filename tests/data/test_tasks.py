import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from study.data.datasets import Dataset, Record, load_dataset
from study.data.images.decode import decode_images
from study.data.shots import Shots, draw_shots, make_shots
from study.data.tasks import Task, class_halves, confirm_task, search_tasks
from study.errors import DataError

Make = Callable[..., Dataset]


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


@pytest.mark.parametrize("protocol", ["few_shot", "transfer"])
def test_holdout_scores_on_the_validation_shots(
    protocol: str, dataset: Dataset, shots: Shots
) -> None:
    (task,) = search_tasks(dataset, shots, protocol=protocol, selection="holdout", folds=1)  # type: ignore[arg-type]
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert (task.train.records, task.evaluations[0].records) == (shots.train, shots.val)


def test_folds_score_every_shot_once_and_train_on_the_rest(dataset: Dataset, shots: Shots) -> None:
    tasks = search_tasks(dataset, shots, protocol="few_shot", selection="folds", folds=3)
    pooled = Counter((*shots.train, *shots.val))
    assert sum((Counter(t.evaluations[0].records) for t in tasks), Counter()) == pooled
    for task in tasks:
        scored = task.evaluations[0]
        assert Counter(task.train.records) + Counter(scored.records) == pooled
        assert labels(task.train.records).keys() == set(range(24))
        assert set(labels(scored.records).values()) <= {2, 3}
        assert len(task.train.classes) == len(scored.classes) == 24
    assert tasks == search_tasks(dataset, shots, protocol="few_shot", selection="folds", folds=3)


def test_class_folds_rotate_thirds_of_the_base_classes(dataset: Dataset, shots: Shots) -> None:
    tasks = search_tasks(dataset, shots, protocol="base_to_new", selection="class_folds", folds=3)
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


def test_base_selection_scores_on_validation_shots_of_base(dataset: Dataset, shots: Shots) -> None:
    (task,) = search_tasks(dataset, shots, protocol="base_to_new", selection="base", folds=1)
    assert parts(task) == [("train", 48, 12), ("base", 36, 12)]


@pytest.mark.parametrize(
    ("protocol", "selection"),
    [
        ("few_shot", "holdout"),
        ("few_shot", "folds"),
        ("base_to_new", "class_folds"),
        ("base_to_new", "base"),
        ("transfer", "holdout"),
    ],
)
def test_no_search_task_holds_a_test_image_or_a_new_class(
    protocol: str, selection: str, dataset: Dataset, shots: Shots
) -> None:
    tasks = search_tasks(dataset, shots, protocol=protocol, selection=selection, folds=3)  # type: ignore[arg-type]
    for part in (p for task in tasks for p in (task.train, *task.evaluations)):
        assert not set(part.records) & set(dataset.test)
        assert {record.label for record in part.records} <= set(part.classes)
        assert protocol != "base_to_new" or max(part.classes) < 12


@pytest.mark.parametrize(
    ("protocol", "selection", "allowed"),
    [
        ("few_shot", "class_folds", "holdout, folds"),
        ("base_to_new", "holdout", "class_folds, base"),
        ("zero_shot", "holdout", "no selection"),
    ],
)
def test_a_selection_that_a_protocol_does_not_have_is_refused(
    protocol: str, selection: str, allowed: str, dataset: Dataset, shots: Shots
) -> None:
    with pytest.raises(DataError, match=f"allowed: {allowed}"):
        search_tasks(dataset, shots, protocol=protocol, selection=selection, folds=3)  # type: ignore[arg-type]


def test_class_folds_need_twelve_base_classes(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=22)
    shots = draw_shots(dataset, shots=2, seed=1)
    with pytest.raises(DataError, match="3 class folds over 11 base classes"):
        search_tasks(dataset, shots, protocol="base_to_new", selection="class_folds", folds=3)


def test_a_selection_without_images_to_score_is_refused(paper_dataset: Make) -> None:
    dataset = paper_dataset(classes=24)
    bare = draw_shots(dataset, shots=1, val_shots=0, seed=1)
    with pytest.raises(DataError, match="no validation images"):
        search_tasks(dataset, bare, protocol="few_shot", selection="holdout", folds=1)
    with pytest.raises(DataError, match="need validation shots"):
        search_tasks(dataset, bare, protocol="base_to_new", selection="class_folds", folds=3)
    with pytest.raises(DataError, match="2 folds over 1 images"):
        search_tasks(dataset, bare, protocol="few_shot", selection="folds", folds=2)


def test_confirm_scores_the_whole_test_split(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, protocol="few_shot")
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24)]
    assert task.evaluations[0].records == dataset.test


def test_confirm_scores_base_and_new_among_their_own_names(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, protocol="base_to_new")
    assert parts(task) == [("train", 48, 12), ("base", 36, 12), ("new", 36, 12)]
    base, new = task.evaluations
    assert base.classes == tuple(range(12))
    assert new.classes == tuple(range(12, 24))
    assert Counter((*base.records, *new.records)) == Counter(dataset.test)


def test_transfer_scores_every_target_among_its_own_names(
    dataset: Dataset, shots: Shots, paper_dataset: Make
) -> None:
    target = replace(paper_dataset(classes=5), name="shift", train=(), val=())
    task = confirm_task(dataset, shots, protocol="transfer", targets=[target])
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24), ("shift", 15, 5)]


def test_a_zero_shot_task_trains_on_nothing(dataset: Dataset, shots: Shots) -> None:
    for drawn in (None, shots):
        task = confirm_task(dataset, drawn, protocol="zero_shot")
        assert parts(task) == [("train", 0, 24), ("accuracy", 72, 24)]
    task = confirm_task(dataset, None, protocol="base_to_new")
    assert parts(task) == [("train", 0, 12), ("base", 36, 12), ("new", 36, 12)]


def test_a_split_without_test_images_is_named(paper_dataset: Make) -> None:
    with pytest.raises(DataError, match="no test images for 'accuracy'"):
        confirm_task(paper_dataset(test=0), None, protocol="zero_shot")


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
            confirm_task(dataset, wrong, protocol="few_shot")
        with pytest.raises(DataError, match=told):
            search_tasks(dataset, wrong, protocol="few_shot", selection="holdout", folds=1)


def test_a_tasks_digest_tells_its_images_and_its_classes(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, protocol="few_shot")
    assert task.digest == confirm_task(dataset, shots, protocol="few_shot").digest
    fewer = replace(task, train=replace(task.train, records=task.train.records[1:]))
    narrower = replace(task, train=replace(task.train, classes=task.train.classes[1:]))
    assert len({task.digest, fewer.digest, narrower.digest}) == 3


def test_a_tasks_lines_say_which_images_and_classes_it_used(dataset: Dataset, shots: Shots) -> None:
    task = confirm_task(dataset, shots, protocol="base_to_new")
    lines = [json.loads(line) for line in task.lines()]
    assert lines[0] == {"part": "train", "classes": list(range(12))}
    assert {line["part"] for line in lines} == {"train", "base", "new"}
    images = [line["path"] for line in lines if line["part"] == "new" and "path" in line]
    assert images == [record.path for record in task.evaluations[1].records]


@pytest.mark.parametrize(
    ("protocol", "selection"), [("few_shot", "holdout"), ("base_to_new", "class_folds")]
)
def test_everything_before_confirm_works_with_the_test_images_gone(
    protocol: str, selection: str, miniature: ModuleType, tmp_path: Path
) -> None:
    miniature.make("dtd", tmp_path / "data", classes=24, counts=(2, 1, 1))
    for record in load_dataset("dtd", tmp_path / "data").test:
        (tmp_path / "data" / "dtd" / record.path).unlink()
    dataset = load_dataset("dtd", tmp_path / "data")
    shots = draw_shots(dataset, shots=2, seed=1)
    tasks = search_tasks(dataset, shots, protocol=protocol, selection=selection, folds=3)  # type: ignore[arg-type]
    parts = [part for task in tasks for part in (task.train, *task.evaluations)]
    paths = [record.path for part in parts for record in part.records]
    decode_images(dataset.source, paths, size=8, cache=tmp_path / "cache", key="dtd")
    task = confirm_task(dataset, shots, protocol=protocol)  # type: ignore[arg-type]
    paths = [record.path for record in task.evaluations[0].records]
    with pytest.raises(DataError, match="no such image"):
        decode_images(dataset.source, paths, size=8, cache=tmp_path / "cache", key="dtd")
