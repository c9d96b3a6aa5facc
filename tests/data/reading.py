"""What readers give, and why they refuse."""

from pathlib import Path
from typing import Any

import pytest

from study.data.datasets import load_dataset
from study.data.records import Dataset
from study.errors import DataError


def sizes(dataset: Dataset) -> list[int]:
    """Count the images of each split."""
    return [len(dataset.train), len(dataset.val), len(dataset.test)]


def refusal(name: str, root: Path | None = None, **options: Any) -> str:
    """Return why a dataset is not read."""
    with pytest.raises(DataError) as refused:
        load_dataset(name, root, **options)
    return str(refused.value)
