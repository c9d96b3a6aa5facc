"""A trial's images are datasets with a split and a digest, by which a store's runs are filtered."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from study.data.records import Record
from study.data.tasks import Part, Task
from study.tracking.mlflow.inputs import dataset_inputs
from tests.study_writer import MakeStudy, tasks_file
from tests.tracking.mlflow.records import runs, sync

SEEN = (Record("a/1", 0), Record("a/2", 0), Record("b/1", 1))
HELD, ELSEWHERE = (Record("a/9", 0), Record("b/9", 1)), (Record("other/1", 0),)
TASK = Task(
    Part("train", SEEN, (0, 1)),
    (Part("accuracy", HELD, (0, 1)), Part("letters", ELSEWHERE, (0,))),
)


def digests(*tasks: Task, evaluated: str = "test") -> dict[tuple[str, str, int], str]:
    """Return the digest of each dataset and split, with their numbers of images."""
    inputs = dataset_inputs(tasks_file(*tasks), evaluated=evaluated, root=None)
    counts = [json.loads(item.dataset.profile)["num_rows"] for item in inputs]
    return {
        (item.dataset.name, item.tags[0].value, count): item.dataset.digest
        for item, count in zip(inputs, counts, strict=True)
    }


def with_training(*records: Record) -> Task:
    return replace(TASK, train=replace(TASK.train, records=records))


def test_folds_are_one_dataset_and_the_same_images_have_a_digest_for_each_split():
    parts = (SEEN[:2], SEEN[2:])
    folds = [
        Task(Part("train", train, (0,)), (Part("accuracy", held, (0,)),))
        for train, held in (parts, parts[::-1])
    ]
    inputs = digests(*folds, evaluated="validation")
    assert inputs.keys() == {("digits", "train", 3), ("digits", "validation", 3)}
    assert len({*inputs.values()}) == 2
    assert inputs == digests(*reversed(folds), evaluated="validation"), "images have no order"


@pytest.mark.parametrize("changed", [Record("b/2", 1), Record("b/1", 0)], ids=["other", "label"])
def test_equal_images_have_equal_digests_and_others_another(changed: Record):
    first, second = digests(TASK), digests(with_training(*SEEN[:2], changed))
    assert second["digits", "test", 2] == first["digits", "test", 2]
    assert second["digits", "train", 3] != first["digits", "train", 3]


@pytest.mark.parametrize("damage", [b"\xff", b'{"path": "a"}\n'])
def test_of_a_damaged_file_nothing_is_reported(damage: bytes):
    assert dataset_inputs(damage, evaluated="test", root=None) == []


def test_runs_are_found_by_the_dataset_of_a_split(mlflow_store: str, make: MakeStudy):
    study = make("filtered")
    searched = study.record_tasks(replace(TASK, evaluations=TASK.evaluations[:1]))
    tested = study.record_tasks(with_training(*SEEN[1:]))
    study.end(study.trial(0, split_hash=searched))
    study.end(study.trial(1, split_hash=tested, stage="test", trial_id="test-best-seed1"))
    study.end(study.trial(2))  # its images are not recorded
    for _ in range(2):
        sync(study, mlflow_store)
    sent = runs(mlflow_store, study)
    assert sent["search-0002"].inputs.dataset_inputs == []
    assert len(sent[""].inputs.dataset_inputs) == 5, "the study's own run has all, once"
    client = MlflowClient(mlflow_store)
    for condition, trial in (
        (f"digest = '{digests(TASK)['digits', 'train', 3]}'", "search-0000"),
        ("name = 'digits' and dataset.context = 'validation'", "search-0000"),
        ("name = 'letters'", "test-best-seed1"),
    ):
        found = client.search_runs([sent[""].info.experiment_id], f"dataset.{condition}")
        assert {run.data.tags.get("trial_id", "") for run in found} == {"", trial}
