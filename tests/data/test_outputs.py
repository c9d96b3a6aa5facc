"""What studies and MLflow write is never read as images, wherever a dataset is."""

import shutil
from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.serving.labelling import list_image_files
from study.storage.study_folder import StudyFolder
from tests import miniature
from tests.data.reading import sizes, write_images


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working folder with images of two classes, a study, and folders of MLflow."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(4):
            miniature.save(tmp_path / name / f"{number}.png", label, number)
    study = StudyFolder(tmp_path / "runs" / "mine")
    study.create("seed: 1\n", {})
    write_images(study.path / "results.parquet", ["a", "b", "c"])
    (tmp_path / "runs" / ".images").mkdir()
    for name in ("mlruns", "mlartifacts", ".cache"):
        miniature.save(tmp_path / name / "1.png", 0, 0)
    return tmp_path


@pytest.mark.parametrize("storage", ["runs", "new", "."])
def test_what_studies_and_mlflow_write_is_no_class(project: Path, storage: str):
    place = project / storage
    (place / ".images").mkdir(parents=True, exist_ok=True)
    StudyFolder(place / "other").create("seed: 1\n", {})
    if storage == "new":
        shutil.rmtree(place / "other")
    dataset = load_dataset("mine", project)
    assert dataset.class_names == ("cat", "dog")
    assert sizes(dataset) == [4, 2, 2]


def test_a_storage_whose_decoded_images_were_deleted_is_no_class(project: Path):
    (project / "runs" / ".images").rmdir()
    assert load_dataset("mine", project).class_names == ("cat", "dog")


def test_folders_of_ones_own_in_the_storage_are_classes(tmp_path: Path):
    for label, name in enumerate(("datasets", "images")):
        for number in range(4):
            miniature.save(tmp_path / name / f"{number}.png", label, number)
    assert load_dataset("mine", tmp_path).class_names == ("datasets", "images")


def test_what_studies_write_is_no_table_of_images(project: Path):
    pytest.importorskip("datasets")
    write_images(project / "photos.parquet", [*"xyxyxyxyxy"])
    dataset = load_dataset("mine", project)
    assert dataset.class_names == ("x", "y")
    assert sizes(dataset) == [4, 2, 4]


def test_what_studies_and_mlflow_write_is_not_labelled(project: Path):
    miniature.save(project / "runs" / "mine" / "plots" / "drift.png", 0, 0)
    found, _ = list_image_files(project)
    assert {path.parent.name for path in found} == {"cat", "dog"}
