"""What studies need: each fault is told, and nothing is fetched in vain."""

from pathlib import Path

import pytest

from study.config.loading import build_config
from study.errors import DataError
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from study.workflow.reproduction import inputs as module
from study.workflow.reproduction.inputs import Inputs
from tests.miniature import make


def study(root: Path, dataset: str, backbone: Path | str, gpus: float = 0) -> Study:
    values = {
        "data": {"dataset": dataset, "root": root},
        "backbone": {"name": str(backbone)},
        "resources": {"gpus_per_trial": gpus},
    }
    return Study(build_config(values, "test", {}), StudyFolder(root / "runs"))


def test_all_that_is_lacking_is_told_without_fetching(tmp_path: Path):
    faults = Inputs({}).find_faults(study(tmp_path, "eurosat", "nobody/clip", gpus=64))
    assert [fault.partition(" ")[0] for fault in faults] == [
        "resources.gpus_per_trial:",
        "backbone",
        "datasets",
    ]
    assert "nobody/clip" in faults[1]
    *_, fault = Inputs({}).find_faults(study(tmp_path, "sun397", "nobody/clip", gpus=64))
    assert fault.startswith("sun397 is not fetched by this program")


def test_a_dataset_is_fetched_once_and_its_files_are_recorded(
    tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []

    def fetch(name: str, root: Path) -> dict[str, str]:
        calls.append(name)
        if name == "dtd":
            raise DataError("no route")
        make(name, root)
        return {"https://a.org/x.zip": "abc"}

    monkeypatch.setattr(module, "fetch_benchmark", fetch)
    inputs = Inputs({})
    for _ in range(2):
        assert inputs.find_faults(study(tmp_path, "eurosat", tiny_backbone)) == []
        assert inputs.find_faults(study(tmp_path, "dtd", tiny_backbone)) == ["no route"]
    assert calls == ["eurosat", "dtd"]
    facts = inputs.facts["eurosat"]
    assert facts["classes, train, val, test"] == "(4, 12, 8, 8)"
    assert facts["published"] == "(10, 13500, 5400, 8100)"
    assert facts["SHA-256 of https://a.org/x.zip"] == "abc"
    assert len(facts["SHA-256 of split_zhou_EuroSAT.json"]) == 64
    assert inputs.facts[f"checkpoint {tiny_backbone.name}"]["identity"]
