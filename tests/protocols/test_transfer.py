"""Transfer: one dataset is trained on, and others are tested."""

from dataclasses import replace

from study.data.records import Dataset
from study.data.shots import Shots
from study.protocols import Transfer
from tests.paper_dataset import make_paper_dataset

from .conftest import parts


def test_transfer_scores_every_target_among_its_own_names(dataset: Dataset, shots: Shots):
    target = replace(make_paper_dataset(classes=5), name="shift", train=(), val=())
    task = Transfer().task_of_test(dataset, shots, [target])
    assert parts(task) == [("train", 96, 24), ("accuracy", 72, 24), ("shift", 15, 5)]
