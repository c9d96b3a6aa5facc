"""Which reader is used, and what no reader reads: the outputs of studies and of MLflow."""

import shutil
from pathlib import Path

import pytest

from study.data.datasets import load_dataset
from study.serving.image_files import list_image_files
from study.storage.study_folder import StudyFolder
from tests import miniature
from tests.data.reading import refusal, sizes, write_images


def test_a_name_without_a_folder_is_named_or_the_nearest(tmp_path: Path):
    assert "did you mean 'eurosat'?" in refusal("eurosta")
    assert "'imagenet' needs a folder; without one: digits" in refusal("imagenet")
    message = refusal("dtd", tmp_path / "none")
    assert f"no file or folder there: {tmp_path}/none. Get it by the section of dtd in" in message


@pytest.mark.parametrize("name", ["dtd", "digits"])
def test_an_option_that_a_format_does_not_read_is_refused(name: str, tmp_path: Path):
    message = refusal(name, tmp_path, columns={"train": "x"}, splits=None)
    assert f"'{name}' does not read columns" in message


def test_the_name_of_a_folder_of_parquet_means_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    for name in ("lib", "csv"):
        Path(name).mkdir()
        write_images(Path(name, "all.parquet"), [*"xyxyxyxyxy"])
        for script in (f"{name}.py", f"{name}/{name}.py"):
            Path(script).touch()
        assert load_dataset("mine", Path(name)).class_names == ("x", "y")


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
    shutil.rmtree(project / "runs" / ".images")  # which a user may delete
    (project / "cat").rename(project / "datasets")  # a name that is nobody's
    assert load_dataset("mine", project).class_names == ("datasets", "dog")


def test_what_studies_write_is_no_table_of_images_and_is_not_labelled(project: Path):
    pytest.importorskip("datasets")
    miniature.save(project / "runs" / "mine" / "plots" / "drift.png", 0, 0)
    found, _ = list_image_files(project)
    assert {path.parent.name for path in found} == {"cat", "dog"}
    write_images(project / "photos.parquet", [*"xyxyxyxyxy"])
    dataset = load_dataset("mine", project)
    assert dataset.class_names == ("x", "y")
    assert sizes(dataset) == [4, 2, 4]
