"""A trial's images are datasets with a split and a digest, by which a store's runs are filtered."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from study.data.records import Record
from study.data.tasks import Part, Task
from study.tracking.mlflow.inputs import dataset_inputs
from tests.written_study import MakeStudy, record_tasks, runs, sync, tasks_file

SEEN = (Record("a/1", 0), Record("a/2", 0), Record("b/1", 1))
HELD, ELSEWHERE = (Record("a/9", 0), Record("b/9", 1)), (Record("other/1", 0),)
TASK = Task(
    Part("train", SEEN, (0, 1)),
    (Part("accuracy", HELD, (0, 1)), Part("letters", ELSEWHERE, (0,))),
)


def told(*tasks: Task, evaluated: str = "test") -> dict[tuple[str, str], tuple[str, int]]:
    """Return the digest and the number of images of each dataset and split."""
    found = dataset_inputs(*tasks_file(*tasks), evaluated=evaluated, root=None)
    return {
        (one.dataset.name, one.tags[0].value): (
            one.dataset.digest,
            json.loads(one.dataset.profile)["num_rows"],
        )
        for one in found
    }


def test_each_split_of_each_dataset_is_one_with_a_digest_of_its_own() -> None:
    found = told(TASK)
    sizes = {place: count for place, (_, count) in found.items()}
    assert sizes == {("digits", "train"): 3, ("digits", "test"): 2, ("letters", "test"): 1}
    assert len({digest for digest, _ in found.values()}) == 3
    (source, *_) = dataset_inputs(*tasks_file(TASK), evaluated="test", root=Path("/my/digits"))
    assert json.loads(source.dataset.source) == {"uri": "/my/digits"}


def test_folds_are_one_dataset_and_the_same_images_have_a_digest_for_each_split() -> None:
    folds = [
        Task(Part("train", SEEN[:2], (0,)), (Part("accuracy", SEEN[2:], (0,)),)),
        Task(Part("train", SEEN[2:], (0,)), (Part("accuracy", SEEN[:2], (0,)),)),
    ]
    found = told(*folds, evaluated="validation")
    assert {place: count for place, (_, count) in found.items()} == {
        ("digits", "train"): 3,
        ("digits", "validation"): 3,
    }
    assert len({digest for digest, _ in found.values()}) == 2
    assert found == told(*reversed(folds), evaluated="validation"), "order is none of the images"


def test_equal_images_have_equal_digests_and_others_another() -> None:
    other = replace(TASK, train=replace(TASK.train, records=(*SEEN[:2], Record("b/2", 1))))
    relabelled = replace(TASK, train=replace(TASK.train, records=(*SEEN[:2], Record("b/1", 0))))
    first, *others = (told(task) for task in (TASK, other, relabelled))
    for found in others:
        assert found["digits", "test"] == first["digits", "test"]
        assert found["digits", "train"] != first["digits", "train"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole.rpartition(b"\n{")[0] + b"\n",
        lambda whole: whole.replace(b"a/9", b"a/8"),
        lambda whole: b"\xff" + whole,
        lambda whole: b"\n".join(whole.split(b"\n")[5:]),
    ],
    ids=["empty", "a line less", "changed", "noise", "no beginning"],
)
def test_of_a_damaged_file_nothing_is_told(damage: Any) -> None:
    whole, split_hash = tasks_file(TASK)
    assert dataset_inputs(damage(whole), split_hash, evaluated="test", root=None) == []


def test_runs_are_found_by_the_dataset_of_a_split(mlflow_server: str, make: MakeStudy) -> None:
    study = make("filtered")
    searched = record_tasks(study.folder, replace(TASK, evaluations=TASK.evaluations[:1]))
    other = replace(TASK.train, records=SEEN[1:])
    confirmed = record_tasks(study.folder, replace(TASK, train=other))
    study.end(study.trial(0, split_hash=searched))
    study.end(study.trial(1, split_hash=confirmed, stage="confirm", trial_id="confirm-best-seed1"))
    study.end(study.trial(2))  # its images are not recorded
    assert sync(study, mlflow_server) == 3
    found = runs(mlflow_server, study)
    client = MlflowClient(mlflow_server)

    def with_dataset(condition: str) -> set[str]:
        there = client.search_runs([found[""].info.experiment_id], condition)
        return {run.data.tags.get("trial_id", "") for run in there}

    train = told(TASK)["digits", "train"][0]
    assert with_dataset(f"dataset.digest = '{train}'") == {"search-0000", ""}
    assert with_dataset("dataset.name = 'digits' and dataset.context = 'validation'") == {
        *("search-0000", ""),
    }
    assert with_dataset("dataset.name = 'letters'") == {"confirm-best-seed1", ""}
    assert found["search-0002"].inputs.dataset_inputs == []
    assert len(found[""].inputs.dataset_inputs) == 5, "the study's own run has all"
    sync(study, mlflow_server)
    assert len(runs(mlflow_server, study)[""].inputs.dataset_inputs) == 5


def test_datasets_that_a_run_has_lost_are_sent_again(mlflow_store: str, make: MakeStudy) -> None:
    study = make("unfiltered")
    split_hash = record_tasks(study.folder, TASK)
    place = study.folder.path / "shots" / f"tasks-{split_hash}.jsonl"
    contents = place.read_bytes()
    place.unlink()
    study.end(study.trial(0, split_hash=split_hash))
    sync(study, mlflow_store)
    assert runs(mlflow_store, study)["search-0000"].inputs.dataset_inputs == []
    place.write_bytes(contents)
    sync(study, mlflow_store)
    assert len(runs(mlflow_store, study)["search-0000"].inputs.dataset_inputs) == 3
