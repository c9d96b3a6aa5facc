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


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_missing_values_are_blank_cells(frame: pd.DataFrame, tmp_path: Path, missing: object):
    def with_missing(column: str, rows: list[int]) -> pd.DataFrame:
        cells = [missing if row in rows else cell for row, cell in enumerate(frame[column])]
        return frame.assign(**{column: pd.Series(cells, dtype=object)})

    for column in ("class_name", "path"):
        with pytest.raises(DataError, match=f"row 6: .*{column[:4]}.*row 8"):
            Dataset.from_frame(with_missing(column, [5, 7]), folder=tmp_path)
    ungrouped = Dataset.from_frame(with_missing("group", [2, 4, 6, 8]), folder=tmp_path)
    assert len({record.group for record in ungrouped.records}) == len(frame)
    assert reloaded(ungrouped, tmp_path / "runs").train
    for rows in (frame[:0], frame):
        blank = pd.concat([rows, pd.DataFrame([[missing] * 3] * 2, columns=frame.columns)])
        with pytest.raises(DataError, match=f"row {len(rows) + 1}: is blank"):
            Dataset.from_frame(blank, folder=tmp_path)
