"""Everything is looked at before anything starts; each fault has the key that is at fault."""

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from study.commands.check import check_study
from study.commands.check_result import CheckResult, Estimate, print_check
from study.errors import Fault, FaultsError
from study.storage.study_folder import StudyFolder
from study.trial.cost import Cost
from study.trial.study import Study
from tests.commands.conftest import Configure, Run
from tests.miniature import image_folder
from tests.siglips import save_siglip

Look = Callable[..., list[str]]


@pytest.fixture
def look(configure: Configure) -> Look:
    """Look at a study; return the keys at fault."""

    def look(**values: Any) -> list[str]:
        config = configure(**values)
        folder = StudyFolder(config.storage / "mine")
        begun = folder.path.exists()
        faults = []
        try:
            check_study(Study(config, folder), resuming=False)
        except FaultsError as refused:
            faults = [fault.key for fault in refused.faults]
        assert folder.path.exists() == begun
        return faults

    return look


def test_a_folder_of_the_study_that_holds_other_files_is_refused(look: Look, tmp_path: Path):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    assert look() == []
    (folder / "my.yaml").touch()
    assert look() == ["name"]


def test_a_method_whose_library_or_parameters_are_missing_is_refused(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    lora = {"baselines": {"mine": {"method": "lora", "lr": 0.01}}}
    assert look(search=lora) == []
    monkeypatch.setitem(sys.modules, "peft", None)
    assert look(search=lora) == ["search.baselines.mine"]
    search = {"baselines": {"projection": {"method": "projection"}}}
    siglip = {"name": str(save_siglip(tmp_path / "siglip"))}
    assert "search.baselines.projection" in look(backbone=siglip, search=search)


@pytest.mark.parametrize(
    "protocol, trained, tested, faulty",
    [
        ("few_shot", "abc", "b", True),
        ("base_to_new", "abcd", "abd", True),
        ("generalized", "abc", "c", True),
        ("transfer", ("cat", "Cat"), ("cat", "Cat"), True),
        ("base_to_new", "abcd", "abcd", False),
        ("generalized", "abc", "abc", False),
    ],
)
def test_classes_that_are_too_few_or_cannot_be_reported_apart_are_refused(
    look: Look, tmp_path: Path, protocol: str, trained: str, tested: str, faulty: bool
):
    root = image_folder(tmp_path / "mine", trained, tested, number=8)
    key, data = "data", {"dataset": "mine", "root": str(root), "shots": 2, "val_shots": 2}
    if protocol == "transfer":
        key, data = "data.targets", {"targets": ["mine"], "targets_root": str(tmp_path)}
    assert look(protocol=protocol, data=data) == [key] * faulty


def test_a_target_of_ones_own_is_another_folder_than_the_training(look: Look, tmp_path: Path):
    for name in ("mine", "other"):
        image_folder(tmp_path / name, number=8)
    (tmp_path / "link").symlink_to("other")
    training, beside = str(tmp_path / "mine"), str(tmp_path)
    source = {"dataset": "mine", "root": training, "shots": 2, "val_shots": 2}

    def keys(*targets: str, **data: str) -> list[str]:
        return look(protocol="transfer", data={**source, "targets": targets, **data})

    assert keys("other", targets_root=beside) == []
    assert keys("other") == ["data.targets"]  # which is not a folder of the training images
    assert keys("test", targets_root=training) == ["data.targets"]
    assert keys("other", "link", targets_root=beside) == ["data.targets"]
    assert keys("mine", targets_root=beside, dataset="pets") == ["data.targets"]


def test_faults_are_in_the_document_without_passwords_and_raised(
    capsys: pytest.CaptureFixture[str],
):
    check = Mock(side_effect=FaultsError("it has", [Fault("data", "at http://me:s3cret@host")]))
    with pytest.raises(FaultsError):
        print_check(check, as_json=True)
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault == {"key": "data", "message": "at http://***@host"}


@pytest.mark.parametrize(
    "words, faults",
    [
        (["data.shots=2", "--estimate", "--images"], []),
        (["data.shots=500"], ["data"]),
        (["seed=1", "seed=2"], [""]),
    ],
    ids=str,
)
def test_a_check_prints_one_object_and_writes_nothing(
    words: list[str],
    faults: list[str],
    here: Path,
    run: Run,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
):
    cost = Cost(step=1.0, image=0.001, memory=10**9)
    monkeypatch.setattr("study.commands.estimate.measure_in_processes", lambda *_, **__: cost)
    ran = run("run", *words, f"tracking.uri={mlflow_store}", "--check", "--json")
    found = json.loads(ran.out)
    assert found.keys() == {field.name for field in fields(CheckResult)}
    assert [fault["key"] for fault in found["faults"]] == faults
    assert ran.code == (2 if faults else 0)
    estimated = {field.name for field in fields(Estimate)} if "--estimate" in words else set()
    assert set(found["estimate"] or ()) == estimated
    assert ran.err.startswith("error: ") == bool(faults)
    assert bool(found["facts"]) == (not faults)
    assert not [*here.rglob("*")]


def test_a_sweep_is_checked_and_nothing_is_written(here: Path, run: Run, mlflow_store: str):
    (here / "grid.yaml").write_text("sweep: {seed: [1, 2]}\ndata: {shots: 2}\n")
    before = [path for path in here.rglob("*") if path.is_file()]
    words = ["--check", f"tracking.uri={mlflow_store}"]
    checked = json.loads(run("grid.yaml", "name=my", *words, "--json").out)
    assert checked["facts"] == [{"name": "studies", "text": "2"}]
    assert "all is well" in run("grid.yaml", "name=my", *words).out
    assert [path for path in here.rglob("*") if path.is_file()] == before
