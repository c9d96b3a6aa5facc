import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from study import Dataset
from study.data.datasets import load_dataset
from study.errors import DataError
from tests.case_tables import from_table

NAMES = ("cat", "dog")


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """A frame of images of two classes, one of them by its path from the folder."""
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(12)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.new("L", (8, 8), number).save(path)
    cells = [Path("photos/0.png"), *paths[1:]]
    return pd.DataFrame({"path": cells, "class_name": NAMES * 6, "group": range(12)})


def reloaded(dataset: Dataset, storage: Path) -> Any:
    """Save a dataset twice, and read it as a study does."""
    root = dataset.save(storage)
    assert dataset.save(storage) == root
    loaded = load_dataset(dataset.name, root)
    assert loaded.source.open_image(loaded.test[0].path).size == (8, 8)
    return loaded


def test_a_frame_is_the_same_dataset_once_saved(frame: pd.DataFrame, tmp_path: Path):
    dataset = Dataset.from_frame(frame, name="pets", folder=tmp_path)
    loaded = reloaded(dataset, tmp_path / "runs")
    assert loaded.class_names == dataset.class_names == NAMES
    for split in ("train", "val", "test"):
        images = [(r.path, r.label, r.group) for r in getattr(dataset, split)]
        assert images
        assert images == [
            (r.path.removeprefix("images/"), r.label, r.group) for r in getattr(loaded, split)
        ]


def test_a_hugging_face_dataset_is_the_same_once_saved(frame: pd.DataFrame, tmp_path: Path):
    import datasets

    loaded = datasets.load_dataset("imagefolder", data_files=[str(frame.path[1])], split="train")
    images = [loaded[0]["image"]] * 12
    split = datasets.Dataset.from_dict({"image": images, "label": NAMES * 6})
    dataset = Dataset.from_huggingface(datasets.DatasetDict(train=split, test=split))
    assert reloaded(dataset, tmp_path / "runs").test == dataset.test
    with pytest.raises(DataError, match="mine: got list; allowed are a Dataset and a DatasetDict"):
        Dataset.from_huggingface([1])


@from_table
def test_a_fault_is_named(frame: pd.DataFrame, tmp_path: Path, changes: dict[str, Any], fault: str):
    name = changes.pop("name", "pets")
    frame = frame.assign(**changes).dropna(axis=1)
    with pytest.raises(DataError) as error:
        Dataset.from_frame(frame, name=name, folder=tmp_path)
    assert re.match(fault, str(error.value))
