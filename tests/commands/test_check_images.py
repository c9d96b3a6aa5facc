"""A look at images before a study: what cannot be read, and what is doubtful of them."""

from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image

from study.commands import check_images
from study.commands.check_images import dataset_warnings, decode_images, find_warnings
from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.errors import StudyError
from study.storage.ledger_files import JsonObject
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


def warned(*configurations: JsonObject) -> str:
    return "\n".join(find_warnings([study(values) for values in configurations]))


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
    assert found.described.startswith("a sample of 3 images")
    (root / "test/dog/4.png").write_bytes(b"")
    spoil(root, "train/cat/0.png")
    (fault,) = decode_images(study(of(root)), every=True).faults
    assert fault.key == "data"
    for name in ("train/cat/0.png", "test/dog/4.png"):
        assert name in fault.message


def test_images_that_the_study_leaves_out_are_warned_of(root: Path):
    spoil(root, "train/cat/1.png", "test/cat/0.png")
    found = decode_images(study(of(root, on_corrupt="skip")), every=True)
    assert found.faults == []
    assert len(found.warnings) == 1


def test_the_images_of_targets_are_decoded_too():
    data = {"dataset": "digits", "targets": ["glyphs"], "shots": 1}
    found = decode_images(study({"protocol": "transfer", "data": data}), every=False)
    assert found.described.startswith("a sample of 128 images")


def test_each_warning_has_a_number_and_at_most_a_few_examples(root: Path, tmp_path: Path):
    assert dataset_warnings(load_dataset("mine", root)) == []
    for n in range(5):
        copy(root, f"train/cat/{n}.png", f"train/dog/{n}.png", f"test/cat/{n}.png")
    for n in range(4):
        (root / f"test/dog/{n}.png").unlink()
        (root / f"test/dog/{n}.png").symlink_to("nowhere")
    (root / "test/dog/4.png").unlink()
    (tmp_path / "away.png").touch()
    (root / "test/dog/4.png").symlink_to(tmp_path / "away.png")
    for line, number in zip(
        dataset_warnings(load_dataset("mine", root)), ("5 of 24", "5", "5"), strict=True
    ):
        assert line.startswith(f"mine: {number} ")
        assert " and 2 more)" in line


def test_images_of_the_same_pixels_are_found_where_all_are_decoded(root: Path):
    Image.open(root / "train/cat/0.png").save(root / "test/dog/0.bmp")
    pixels = decode_images(study(of(root)), every=True).pixels["mine"]
    assert pixels["train/cat/0.png"] == pixels["test/dog/0.bmp"]
    dataset = load_dataset("mine", root)
    assert dataset_warnings(dataset) == []
    assert len(dataset_warnings(dataset, pixels=pixels)) == 2


def test_what_is_not_read_of_a_folder_is_one_warning_with_a_count(root: Path):
    (root / "train/cat/album").mkdir(parents=True)
    copy(root, "train/cat/0.png", "train/cat/album/0.png", "cover.png", "train/cat/0.HEIC")
    (line,) = dataset_warnings(load_dataset("mine", root))
    assert line.startswith("mine: 3 files not read (")


def test_a_part_of_imagenet_is_warned_of_with_how_to_get_it(miniature: ModuleType, tmp_path: Path):
    miniature.make("imagenet_a", tmp_path)
    (line,) = dataset_warnings(load_dataset("imagenet_a", tmp_path))
    assert line.startswith("imagenet_a: its numbers of images are not those published")
    assert "Get it by" in line


def test_each_dataset_and_target_is_looked_at_once(root: Path):
    copy(root, "train/cat/0.png", "test/dog/0.png")
    assert warned(of(root, shots=1), of(root, shots=2)).count("among the test images") == 1
    targets = {"targets": ["images"], "targets_root": str(root.parent)}
    assert "images: " in warned({"protocol": "transfer", "data": targets})


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
    monkeypatch.setattr("study.commands.execution.ray_session", fail)
    data = ["data.dataset=mine", f"data.root={root}", "data.shots=2", "data.val_shots=2"]
    out = run(*words, "name=mine", *data, f"tracking.uri={mlflow_store}").out
    assert "in two classes" in out


def test_test_classes_that_differ_in_size_or_have_no_image_are_warned_of(root: Path):
    for n in range(3, 6):
        (root / f"test/dog/{n}.png").unlink()
    assert warned(of(root)).count("mine: ") == 0
    (root / "test/dog/2.png").unlink()
    assert "from 2 images (dog) to 6 (cat)" in warned(of(root))
    assert "differ in size" not in warned({"protocol": "generalized", **of(root)})
    for n in range(2):
        (root / f"test/dog/{n}.png").unlink()
    assert "no test image is of 'dog' (1 of 2 classes)" in warned(of(root))
