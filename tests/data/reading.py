"""What readers give, and why they refuse."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data.datasets import load_dataset
from study.data.records import Dataset
from study.errors import DataError
from tests import miniature


def sizes(dataset: Dataset) -> list[int]:
    """Count the images of each split."""
    return [len(dataset.train), len(dataset.val), len(dataset.test)]


def refusal(name: str, root: Path | None = None, **options: Any) -> str:
    """Return why a dataset is not read."""
    with pytest.raises(DataError) as refused:
        load_dataset(name, root, **options)
    return str(refused.value)


def write_images(file: Path, labels: Sequence[str]):
    """Write a Parquet file with an image for each label, as the hub has them."""
    contents = io.BytesIO()
    miniature.draw(0, 0).save(contents, "PNG")
    images = [{"bytes": contents.getvalue()}] * len(labels)
    pq.write_table(pa.table({"image": images, "label": labels}), file)


def add(root: Path, *names: str):
    """Add empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
