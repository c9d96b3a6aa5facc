"""Whole studies on miniatures in the exact formats, in one Ray session: minutes, not seconds."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import study.commands.execution
from study.run import main
from study.search.driver import ray_session
from study.storage.study_folder import StudyFolder
from study.trial.study import Candidate
from tests.not_none import not_none

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

Run = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def one_ray_session() -> Iterator[None]:
    with ray_session() as start:
        start.result()
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def run(place: Path, root: Path, tiny_backbone: Path) -> Run:
    """Run a configuration by name on miniatures; give the folder of studies."""

    def run(name: str, *overrides: str, root: Path = root) -> Path:
        small = (
            *(f"data.root={root}", f"backbone.name={tiny_backbone}", f"storage={place / 'runs'}"),
            *(f"tracking.uri=sqlite:///{place / 'mlflow.db'}", "training.epochs=2"),
            *("resources.gpus_per_trial=0", "resources.max_concurrent=1", "test.seeds=[1, 2]"),
        )
        assert main([name, *small, *overrides]) == 0
        return place / "runs"

    return run


def statuses(folder: Path) -> set[str]:
    return {not_none(trial.read_end()).status for trial in StudyFolder(folder).trials()}


EUROSAT = "data.dataset=eurosat"
SEARCH = ("search.trials=5", "search.asha=null", "data.shots=2", "data.val_shots=1")


@pytest.mark.parametrize(
    "name, overrides, studies, file, message",
    [
        ("base_to_new", [EUROSAT], 1, "tables.md", "78.97"),  # as published
        ("base_to_new", ["name=searched", *SEARCH], 11, "tables.md", "hmean"),
        ("few_shot", ["data.dataset=dtd"], 5, "tables.md", "clipfit, shots 16"),
        ("transfer_domains", ["name=domains"], 1, "domains/report.html", "Dataset by dataset"),
        ("transfer_datasets", ["name=datasets"], 1, "datasets/report.html", "Dataset by dataset"),
        # The file names layers 0 to 5 of the twelve of ViT-B/16; a slice takes what there is.
        ("ablation_biases", [EUROSAT], 1, "tables.md", "ablation_biases"),
        ("ablation_layernorms", [EUROSAT], 1, "tables.md", "ablation"),
        ("ablation_regularizer", [EUROSAT], 3, "tables.md", "l2_init"),
        ("zero_shot", ["data.dataset=imagenet_r"], 2, "tables.md", "imagenet_r"),
    ],
)
def test_each_of_the_papers_studies_is_trained_tested_and_reported(
    name: str, overrides: list[str], studies: int, file: str, message: str, run: Run, place: Path
):
    before = {*(place / "runs").glob("*/study.yaml")}
    runs = run(f"paper/{name}", *overrides)
    folders = [path.parent for path in {*runs.glob("*/study.yaml")} - before]
    assert len(folders) == studies
    for folder in folders:
        assert statuses(folder) == {"finished"}
        reports = [trial.read_reports()[-1] for trial in StudyFolder(folder).trials()]
        assert any("test_score" in report for report in reports)
        assert (folder / "leaderboard.md").exists()
    assert message in (runs / file).read_text()


def test_no_test_image_is_opened_before_the_choice_is_fixed_and_all_is_on_record(
    run: Run, miniature: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
):
    root = place / "locked"
    folder = miniature.make("eurosat", root, classes=4, counts=(4, 2, 2))
    split = json.loads((folder / "split_zhou_EuroSAT.json").read_text())
    tested = {f"2750/{path}" for path, _, _ in split["test"]}
    whole = shutil.copytree(folder, place / "whole")
    for path in tested:
        (folder / path).write_bytes(b"whoever opens this before test finds no image")
    fix = study.commands.execution.read_or_choose_candidates

    def fix_and_unlock(*arguments: Any) -> tuple[Candidate, ...]:
        candidates = fix(*arguments)
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        return candidates

    monkeypatch.setattr(study.commands.execution, "read_or_choose_candidates", fix_and_unlock)
    runs = run("paper/base_to_new", EUROSAT, "name=locked", *SEARCH, root=root)
    locked = StudyFolder(runs / "locked-base_to_new-eurosat")
    assert statuses(locked.path) == {"finished"}
    for trial in locked.trials():
        config = trial.read_config()
        record = locked.path / "shots" / f"tasks-{config['split_hash']}.jsonl"
        opened = {json.loads(line).get("path") for line in record.read_text().splitlines()}
        assert bool(opened & tested) == (config["stage"] == "test")
