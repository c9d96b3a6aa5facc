"""What is allowed and may not be meant is said before a study starts, counted, with examples."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from study.commands.start_warnings import dataset_warnings, find_warnings
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


def copy(root: Path, source: str, *targets: str):
    for target in targets:
        (root / target).write_bytes((root / source).read_bytes())


def test_each_warning_has_a_number_and_at_most_a_few_examples(root: Path, tmp_path: Path):
    for n in range(5):
        copy(root, f"train/cat/{n}.png", f"train/dog/{n}.png", f"test/cat/{n}.png")
    for n in range(4):
        (root / f"test/dog/{n}.png").unlink()
        (root / f"test/dog/{n}.png").symlink_to("nowhere")
    (root / "test/dog/4.png").unlink()
    (tmp_path / "away.png").touch()
    (root / "test/dog/4.png").symlink_to(tmp_path / "away.png")
    absent, classes, splits = dataset_warnings(load_dataset("mine", root))
    assert absent.startswith("mine: 5 of 24 listed images are not there, or are led out of ")
    assert "(test/dog/0.png, " in absent
    assert " and 2 more): the study ends at the first" in absent
    assert classes.startswith("mine: 5 files are in two classes (")
    assert classes.count(".png = ") > 0
    assert " and 2 more): no model" in classes
    assert splits.startswith("mine: 5 files are among the test images")


def test_images_that_are_left_out_are_told_so(root: Path):
    assert dataset_warnings(load_dataset("mine", root), "skip") == []
    (root / "test/dog/0.png").unlink()
    (root / "test/dog/0.png").symlink_to("nowhere")
    (line,) = dataset_warnings(load_dataset("mine", root), "skip")
    assert line.endswith("the study leaves them out (data.on_corrupt=skip)")


def test_a_part_of_imagenet_is_told_with_how_to_get_it(miniature: ModuleType, tmp_path: Path):
    miniature.make("imagenet_a", tmp_path)
    (line,) = dataset_warnings(load_dataset("imagenet_a", tmp_path))
    assert line.startswith("imagenet_a: its numbers of images are not those published")
    assert "Get it by" in line


def test_images_of_the_same_pixels_are_told_where_all_are_decoded(root: Path):
    dataset = load_dataset("mine", root)
    pixels = {record.path: record.path.encode() for record in dataset.records}
    pixels["train/cat/0.png"] = pixels["train/dog/0.png"]
    (line,) = dataset_warnings(dataset, pixels=pixels)
    assert line.startswith("mine: 1 image is in two classes (train/cat/0.png = train/dog/0.png)")


def test_files_that_are_not_read_are_counted_in_one_warning(root: Path):
    for name in ("cover.png", *(f"train/cat/{n}.HEIC" for n in range(5))):
        copy(root, "train/cat/0.png", name)
    Path(os.fsdecode(os.fsencode(root) + b"/train/cat/\xff")).touch()
    (line,) = dataset_warnings(load_dataset("mine", root))
    assert line.startswith("mine: 7 files are not read (cover.png, train/cat/0.HEIC, ")
    assert "HEIC and AVIF" in line


def said(tmp_path: Path, *configurations: JsonObject) -> str:
    """What is said before studies of these configurations begin."""
    folder = StudyFolder(tmp_path / "runs" / "mine")
    return "\n".join(
        find_warnings([Study(build_config(values, "here"), folder) for values in configurations])
    )


def of(root: Path, **data: Any) -> JsonObject:
    """The section of a configuration that names a dataset."""
    return {"data": {"dataset": "mine", "root": str(root), **data}}


def test_studies_on_one_dataset_are_warned_of_once(root: Path, tmp_path: Path):
    copy(root, "train/cat/0.png", "train/dog/0.png")
    told = said(tmp_path, of(root, shots=1), of(root, shots=2))
    assert told.count("1 file is in two classes") == 1


def test_a_study_that_runs_beside_is_named_with_what_leaves_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    beside = StudyFolder(tmp_path / "runs" / "beside")
    beside.create("", {})
    assert "beside" not in said(tmp_path, {}), "it does not run"
    with beside.locked():
        monkeypatch.setenv("RAY_ADDRESS", "local")
        assert (
            "mine: 'beside' in the same folder runs, too; if that is on this machine, all use"
            in (said(tmp_path, {}))
        )
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
        assert "on this cluster, each keeps its places" in said(tmp_path, {})
        limited = {"resources": {"max_concurrent": 1}}
        assert "beside" not in said(tmp_path, limited), "who leaves room need not hear it"


def test_targets_are_looked_at_as_well(root: Path, tmp_path: Path):
    copy(root, "train/cat/0.png", "test/dog/0.png")
    targets = {"targets": ["images"], "targets_root": str(root.parent)}
    told = said(tmp_path, {"protocol": "transfer", "data": targets})
    assert "images: 1 file is among the test images" in told


@pytest.mark.parametrize(
    "words", [["quickstart"], ["quickstart", "--check"], ["two.yaml", "--check"]], ids=" ".join
)
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
    monkeypatch.setattr("study.commands.run_study.ray_session", fail)
    data = ["data.dataset=mine", f"data.root={root}", "data.shots=2", "data.val_shots=2"]
    out = run(*words, "name=mine", *data, f"tracking.uri={mlflow_store}").out
    what = "image" if words[0] == "quickstart" and "--check" in words else "file"  # of so few
    assert f"1 {what} is in two classes (train/cat/0.png" in out


def test_test_classes_of_more_than_two_to_one_are_warned_of_while_accuracy_counts(
    root: Path, tmp_path: Path
):
    for n in range(3, 6):
        (root / f"test/dog/{n}.png").unlink()
    assert "differ in size" not in said(tmp_path, of(root))
    (root / "test/dog/2.png").unlink()
    text = said(tmp_path, of(root))
    assert "test classes differ in size" in text
    assert "from 2 images (dog) to 6 (cat)" in text
    assert "differ in size" not in said(tmp_path, {"protocol": "generalized", **of(root)})


def test_classes_without_a_test_image_are_named(root: Path, tmp_path: Path):
    targets = {"targets": ["images"], "targets_root": str(root.parent)}
    studies = (of(root), {"protocol": "transfer", "data": targets})
    assert not any("no test image" in said(tmp_path, values) for values in studies)
    for path in [*(root / "test" / "dog").iterdir()]:
        path.rename(root / "train" / "dog" / f"more-{path.name}")
    for values in studies:
        assert "no test image is of 'dog' (1 of 2 classes)" in said(tmp_path, values)


def test_it_is_said_which_intervals_draw_groups_of_test_images_as_wholes(
    root: Path, tmp_path: Path
):
    text = said(tmp_path, of(root, groups=r"\w+/\w+"))
    assert "test images are of 2 groups, which intervals draw as wholes" in text
    assert "as wholes" not in said(tmp_path, of(root))
