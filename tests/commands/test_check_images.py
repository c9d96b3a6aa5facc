"""A look at images before a study: what cannot be read, and what may be wrong of them."""

from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from study.commands import check_images
from study.commands.check_images import dataset_warnings, decode_images, find_warnings
from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.errors import StudyError
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.commands.conftest import Run
from tests.image_folders import image_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images")


def of(root: Path, **data: Any) -> JsonObject:
    """The section of a configuration that names a dataset."""
    return {"data": {"dataset": "mine", "root": str(root), "shots": 1, **data}}


def study(values: JsonObject) -> Study:
    return Study(build_config({"name": "mine", **values}, "here"), StudyFolder(Path("runs/mine")))


def warned(root: Path) -> list[str]:
    return [*dataset_warnings(load_dataset("mine", root))]


def copy(root: Path, source: str, *targets: str):
    for target in targets:
        (root / target).write_bytes((root / source).read_bytes())


def spoil(root: Path, *names: str):
    for name in names:
        path = root / name
        path.write_bytes(path.read_bytes()[:40])


def test_all_images_or_a_sample_are_decoded(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_images, "SAMPLE", 3)
    found = decode_images(study(of(root)), every=False)
    assert (found.faults, found.warnings) == ([], [])
    assert found.facts[0].text.startswith("a sample of 3 images")
    spoil(root, "train/cat/0.png", "test/dog/4.png")
    (fault,) = decode_images(study(of(root)), every=True).faults
    assert fault.key == "data"
    for name in ("train/cat/0.png", "test/dog/4.png"):
        assert name in fault.message
    skipped = decode_images(study(of(root, on_corrupt="skip")), every=True)
    assert (skipped.faults, len(skipped.warnings)) == ([], 1)


def test_each_warning_has_a_number_and_at_most_a_few_examples(root: Path, tmp_path: Path):
    assert warned(root) == []
    for n in range(6):
        copy(root, f"train/cat/{n}.png", f"train/dog/{n}.png", f"test/cat/{n}.png")
    for n in range(6):
        (root / f"test/dog/{n}.png").unlink()
        (root / f"test/dog/{n}.png").symlink_to("nowhere")
    for line, number in zip(warned(root), ("6 of 24", "6", "6"), strict=True):
        assert line.startswith(f"{number} ")
        assert " and 1 more)" in line


def test_a_class_without_a_test_image_is_warned_of(root: Path):
    for image in (root / "test/dog").iterdir():
        image.unlink()
    assert "no test image is of 'dog' (1 of 2 classes)" in warned(root)[0]


@pytest.mark.parametrize("name", ["imagenet_a", "dtd"])
def test_another_number_than_was_published_is_warned_of_with_how_to_get_all(
    miniature: ModuleType, tmp_path: Path, name: str
):
    miniature.make(name, tmp_path)
    (line,) = dataset_warnings(load_dataset(name, tmp_path))
    assert "as published: " in line
    assert "Get it by" in line


def test_each_dataset_and_target_is_looked_at_once(root: Path):
    copy(root, "train/cat/0.png", "test/dog/0.png")
    assert len(find_warnings([study(of(root, shots=1)), study(of(root, shots=2))])) == 3
    targets = {"targets": ["images"], "targets_root": str(root.parent), "shots": 1}
    found = find_warnings([study({"protocol": "transfer", "data": targets})])
    assert [line.partition(":")[0] for line in found][1:] == ["images", "images"]


@pytest.mark.parametrize("words", [["quickstart"], ["two.yaml", "--check"]], ids=" ".join)
def test_a_check_and_a_run_print_warnings(
    root: Path,
    here: Path,
    mlflow_store: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
):
    copy(root, "train/cat/0.png", "train/dog/0.png")
    (here / "two.yaml").write_text("sweep: {seed: [1, 2]}\n")
    fail = Mock(side_effect=StudyError("enough"))
    start = Mock(result=fail)
    monkeypatch.setattr("study.commands.execution.ray_session", lambda: nullcontext(start))
    data = ["data.dataset=mine", f"data.root={root}", "data.shots=2", "data.val_shots=2"]
    out = run(*words, "name=mine", *data, f"tracking.uri={mlflow_store}").out
    assert "in two classes" in out
