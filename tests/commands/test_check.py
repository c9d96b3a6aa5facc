"""Everything is looked at before anything starts, and a study goes on as it was frozen."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.check import check_study
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.errors import FaultsError, StudyError
from study.storage.ledger_files import JsonObject
from study.storage.probe import JOB
from study.storage.study_folder import StudyFolder
from study.tracking.mlflow.mlflow_tracker import MlflowTracker
from study.tracking.tracker import Tracker
from study.trial.study import Study
from tests import miniature
from tests.case_tables import from_table
from tests.image_folders import image_folder
from tests.siglips import save_siglip

FAULTS = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text())

Look = Callable[..., list[str]]


@pytest.fixture
def look(tiny_backbone: Path, tmp_path: Path, mlflow_store: str) -> Look:
    """Look at a study; give the faults."""

    def look(
        *,
        resuming: bool = False,
        backbone: Path = tiny_backbone,
        tracker: Tracker | None = None,
        **values: Any,
    ) -> list[str]:
        config = build_config(
            {
                "name": "mine",
                "storage": str(tmp_path / "runs"),
                "backbone": {"name": str(backbone)},
                "tracking": {"uri": mlflow_store},
                "data": {"shots": 2},
                **values,
            },
            "here",
        )
        folder = StudyFolder(config.storage / "mine")
        begun = folder.path.exists()
        faults = []
        try:
            check_study(Study(config, folder), resuming=resuming, tracker=tracker)
        except FaultsError as refused:
            faults = [str(fault) for fault in refused.faults]
        assert folder.path.exists() == begun
        return faults

    return look


@pytest.mark.parametrize("case", FAULTS["given"].values(), ids=FAULTS["given"])
def test_a_fault_is_told_with_its_place_and_what_is_allowed(look: Look, case: JsonObject):
    (fault,) = look(**case["values"])
    place, *others = case["told"]
    assert fault.startswith(place)
    for part in others:
        assert part in fault


def test_a_folder_of_the_study_that_holds_other_files_is_refused(look: Look, tmp_path: Path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    assert look() == []
    (folder / "my.yaml").touch()
    assert look() == [f"name: {folder} is taken; allowed is a new or an empty folder"]


@from_table
def test_lora_without_peft_is_told_before_anything_starts(
    look: Look, monkeypatch: pytest.MonkeyPatch, own: JsonObject
):
    clipfit = {"subset": "clipfit", "rates": {"bias": 1, "ln": 1}}
    baselines = {"zero-shot": {"subset": "none"}, "clipfit": clipfit, "mine": own}
    assert look(search={"baselines": baselines}) == []
    monkeypatch.setitem(sys.modules, "peft", None)
    (fault,) = look(search={"baselines": baselines})
    assert fault.startswith("search.baselines.mine: LoRA needs the optional extra")
    assert "pip install 'clipfit-study[lora]'" in fault
    assert look(search={"baselines": {"full": {"peer": "full"}}}) == []


def test_a_peer_that_a_siglip_has_not_is_told_with_the_way_around(look: Look, tmp_path: Path):
    backbone = save_siglip(tmp_path / "siglip")
    peer = {"baselines": {"projection": {"peer": "projection"}}}
    faults = look(backbone=backbone, search={"space": {"sites": ["vision.ln1"]}, **peer})
    (fault,) = (one for one in faults if "projection" in one)
    assert fault.startswith("search.baselines.projection: 'projection' needs a backbone of the")
    assert fault.endswith(
        "is a siglip; allowed are full and lora, or none: search.baselines.projection=null"
    )


def few_classes(root: Path, trained: Iterable[str], tested: Iterable[str]) -> JsonObject:
    """Make an image folder; give the section of the configuration that names it."""
    image_folder(root, trained, tested, number=8)
    return {"dataset": "mine", "root": str(root), "shots": 2, "val_shots": 2}


@pytest.mark.parametrize(
    "case", FAULTS["classes"], ids=lambda c: "{protocol}-{trained}".format(**c)
)
def test_classes_that_are_too_few_or_cannot_be_told_apart_are_told(
    look: Look, tmp_path: Path, case: JsonObject
):
    data = few_classes(tmp_path / "mine", case["trained"], case["tested"])
    place = "data"
    if case.get("target"):
        place = "data.targets"
        data = {"shots": 2, "targets": ["mine"], "targets_root": str(tmp_path)}
    faults = look(protocol=case["protocol"], data=data)
    assert len(faults) == ("told" in case)
    for fault in faults:
        assert fault.startswith(f"{place}: mine: {case['told']}")


def test_a_target_of_ones_own_is_another_folder_than_the_training(look: Look, tmp_path: Path):
    for name in ("mine", "other"):
        image_folder(tmp_path / name, number=8)
    (tmp_path / "link").symlink_to("other")
    training, beside = str(tmp_path / "mine"), str(tmp_path)
    source = {"dataset": "mine", "root": training, "shots": 2, "val_shots": 2}

    def faults(*targets: str, **data: str) -> list[str]:
        return look(protocol="transfer", data={**source, "targets": targets, **data})

    assert faults("other", targets_root=beside) == []
    (fault,) = faults("other")  # which is no folder of the training images
    assert fault.startswith("data.targets: ")
    for targets in (("test",), ("other", "link")):
        root = training if targets == ("test",) else beside
        (fault,) = faults(*targets, targets_root=root)
        assert "have images in common" in fault
    (fault,) = faults("mine", targets_root=beside, dataset="pets")
    assert "mine and pets have images in common" in fault


def test_a_published_list_may_repeat_a_name_and_no_other_dataset(look: Look, tmp_path: Path):
    miniature.make("imagenet", tmp_path, classes=8, counts=(4, 0, 2))
    data = {"shots": 2, "val_shots": 2}
    assert look(data={"dataset": "imagenet", "root": str(tmp_path), **data}) == []
    image_folder(tmp_path / "mine", ("cat", "Cat"), ("cat", "Cat"))
    (fault,) = look(data={"dataset": "mine", "root": str(tmp_path / "mine"), **data})
    assert "as the same text: 'Cat' and 'cat'" in fault


def test_names_that_are_no_text_are_all_told(look: Look, tmp_path: Path):
    names = ("cat", "<|endoftext|>", "big\tdog")
    control, mark = look(data=few_classes(tmp_path / "images", names, names))
    assert "'big\\tdog' (U+0009)" in control
    assert "'<|endoftext|>'" in mark


def test_a_table_of_which_no_file_is_there_is_told(look: Look, tmp_path: Path):
    lines = ["path,class_name,split"]
    for n in range(32):
        name, split = ("cat", "dog")[n % 2], ("train", "test")[n // 16]
        lines.append(f"{n}.png,{name},{split}")
    table = tmp_path / "images.csv"
    table.write_text("\n".join(lines))
    absent = "images.csv: none of the 16 training images that are listed is in "
    data = {"dataset": "images.csv", "root": str(table), "shots": 2, "val_shots": 2}
    (fault,) = look(data=data)
    assert fault.startswith(f"data: {absent}")
    targets = {"targets": ["images.csv"], "targets_root": str(tmp_path)}
    (fault,) = look(protocol="transfer", data={"shots": 2, **targets})
    assert fault.startswith(f"data.targets: {absent}")


def test_a_folder_that_one_may_not_look_into_is_told_beside_other_faults(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    closed, stat = tmp_path / "closed", Path.stat

    def refuse(path: Path, **options: Any) -> Any:  # root may look everywhere
        if closed in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    uri = f"sqlite:///{closed / 'mlflow.db'}"
    found = look(data={"shots": 1000}, tracking={"uri": uri})
    assert f"tracking: {closed / 'mlflow.db'} cannot be used: Permission denied" in found
    assert any("1000" in fault for fault in found)


def test_a_cluster_that_does_not_answer_is_told_and_needs_no_gpu_here(
    look: Look, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr("study.search.ray_internals.CLUSTER_ANSWERS_WITHIN", 0.5)
    (fault,) = look(resources={"gpus_per_trial": 1})
    assert fault.startswith("RAY_ADDRESS: no Ray cluster answers at '127.0.0.1:9' (")


def test_a_job_in_a_copy_of_a_folder_needs_places_outside_of_it(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mlflow_store: str
):
    monkeypatch.chdir(tmp_path)
    relative = {"storage": "runs", "tracking": {"uri": "sqlite:///mlflow.db"}}
    assert look(**relative) == []
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}}))
    storage, tracking = look(**relative)
    assert storage.startswith("storage: runs would be in the copy of your folder that this job")
    assert tracking.startswith("tracking: sqlite:///mlflow.db is on the machine that this job")
    assert not [fault for fault in look() if fault.startswith("storage:")]  # which is absolute
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {}}))
    assert look(**relative) == []


def test_a_tracker_that_was_handed_over_is_asked_in_place_of_mlflow(look: Look):
    class Full(MlflowTracker):
        def check(self, config: StudyConfig):
            raise StudyError(f"no room for '{config.name}'")

    assert look(tracker=Full(), tracking={"uri": "unknown://x"}) == ["tracking: no room for 'mine'"]


@pytest.mark.long
def test_a_check_meets_no_warning(tmp_path: Path, mlflow_store: str):
    check = ["-W", "error", "-m", "study", "run", "quickstart", "--check"]
    done = subprocess.run(
        [sys.executable, *check, f"tracking.uri={mlflow_store}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
