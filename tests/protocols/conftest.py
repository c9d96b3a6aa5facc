"""What the tests of protocols share: a dataset on paper, its shots, and a task's parts."""

import pytest

from study.data.records import Dataset
from study.data.shots import Shots, draw_shots
from study.data.tasks import Task
from tests.paper_dataset import make_paper_dataset


def parts(task: Task) -> list[tuple[str, int, int]]:
    """Return the name, the number of images and that of classes of every part of a task."""
    every = (task.train, *task.evaluations)
    return [(part.name, len(part.records), len(part.classes)) for part in every]


@pytest.fixture
def dataset() -> Dataset:
    """24 classes: 12 base, 12 new."""
    return make_paper_dataset(classes=24)


@pytest.fixture
def shots(dataset: Dataset) -> Shots:
    """Four shots of each class, and three to validate on."""
    return draw_shots(dataset, shots=4, val_shots=3, seed=1)
