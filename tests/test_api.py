"""What a notebook uses: datasets, studies and models, as the page shows, and refused by name."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import study
from study import Dataset
from study.data.datasets import load_dataset
from study.errors import ConfigError, DataError
from tests.miniature import image_folder

PAGE = Path(study.__file__).with_name("api.md")
NAMES = ("cat", "dog")


@pytest.fixture(scope="module")
def runs(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage that has a finished study, ``mine``."""
    runs = tmp_path_factory.mktemp("api")
    finish(runs, "mine")
    return runs


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
        images = [
            replace(record, path=f"images/{record.path}") for record in getattr(dataset, split)
        ]
        assert images
        assert images == [*getattr(loaded, split)]


def test_a_folder_is_read_where_it_is(tmp_path: Path):
    root = image_folder(tmp_path / "pets")
    dataset = Dataset.from_folder(root, name="pets")
    assert (dataset.class_names, len(dataset.records)) == (NAMES, 24)
    assert reloaded(dataset, tmp_path / "runs").test == dataset.test
    assert not (tmp_path / "runs").exists()
    with pytest.raises(DataError, match="name is 'digits', which is a known dataset"):
        Dataset.from_folder(root, name="digits")


def test_a_hugging_face_dataset_is_the_same_once_saved(frame: pd.DataFrame, tmp_path: Path):
    import datasets

    images = [Image.open(frame.path[1])] * 12
    split = datasets.Dataset.from_dict({"image": images, "label": NAMES * 6})
    dataset = Dataset.from_huggingface(datasets.DatasetDict(train=split, test=split))
    assert reloaded(dataset, tmp_path / "runs").test == dataset.test
    with pytest.raises(DataError, match="mine: got list; expected a Dataset or a DatasetDict"):
        Dataset.from_huggingface([1])


def test_an_image_in_any_form_has_the_same_probabilities(runs: Path, tmp_path: Path):
    model = study.load_model("mine", storage=runs)
    image, file = Image.linear_gradient("L"), tmp_path / "a.png"
    image.save(file)
    tables = [model.predict(form) for form in (image, np.asarray(image), tmp_path, [file, image])]
    rows = [row for table in tables for row in table.itertuples()]
    for row in rows:
        assert row.probabilities == pytest.approx(rows[0].probabilities, abs=1e-6)
        assert row.probability == max(row.probabilities.values())
        assert row.probability == row.probabilities[row.class_name]
    assert [row.Index for row in rows] == [0, 0, str(file), str(file), 1]


def test_a_study_is_opened_by_its_name(runs: Path, tmp_path: Path):
    opened = study.open_study("mine", storage=runs)
    assert opened.result.folder.path == opened.path == runs / "mine"
    (row,) = opened.leaderboard().itertuples()
    assert (row.label, row.best, row.test_mean, row.seeds) == ("best", True, 0.75, 2)
    assert len(opened.predict([[[0, 255], [9, 8]]])) == 1
    opened.export("hf", tmp_path / "out")
    assert (tmp_path / "out" / "README.md").exists()
    with pytest.raises(ConfigError, match="seed: the study has 1, got 2"):
        opened.extend({"seed": 2})


def test_the_page_has_every_public_name():
    names = re.findall(r"(?m)^\| `study\.(\w+)", PAGE.read_text())
    assert sorted(names) == sorted([*dir(study), "run"])
    assert all(getattr(study, name) for name in names)


@pytest.mark.parametrize(
    "configuration, options, fault",
    [
        ("quickstart", {"overrides": {"search.trails": 3}}, "search.trails: unknown key"),
        ("quickstart", {"overrides": {"seed": Ellipsis}}, "valid integer, got 'Ellipsis'"),
        ("quickstart", {"overrides": ["seed=2"]}, "overrides is ['seed=2']; expected a dict"),
        ("quickstart", {"dataset": "pets"}, "dataset is a str; expected a study.Dataset"),
        ("paper/few_shot", {}, "is a sweep; run it with the command"),
    ],
)
def test_what_is_no_study_is_refused(
    configuration: str, options: dict[str, Any], fault: str, runs: Path
):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        study.run_study(configuration, storage=runs, **options)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text()):
        exec(block, variables)
    assert variables["board"].best.sum() == 1
    assert [*variables["labels"].index] == sorted(variables["frame"].path)
    assert isinstance(variables["labels"], pd.DataFrame)
