"""What the tests of protocols share: a dataset on paper, its shots, and a task's parts."""

from collections.abc import Sequence

import numpy as np
import pytest

from study.data.records import Dataset
from study.data.shots import Shots, draw_shots
from study.data.tasks import Task
from study.protocols import Competition, Competitors
from tests.paper_dataset import make_paper_dataset

Images = Sequence[tuple[float, bool, int]]
"""Gap, whether the best name of its own kind is right, and class, of each image."""


def competition(seen: Images, unseen: Images) -> Competition:
    """Make a competition of images."""
    kinds = [Competitors(*map(np.array, zip(*images, strict=True))) for images in (seen, unseen)]
    return Competition(*kinds)


def parts(task: Task) -> list[tuple[str, int, int]]:
    """Return name, images and competing classes of every part of a task."""
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
