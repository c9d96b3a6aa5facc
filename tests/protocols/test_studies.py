"""Whole studies on miniatures in the exact formats, in one Ray session: minutes, not seconds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

import study.workflow.training_stages
from study.config.schema import StudyConfig
from study.run import main
from study.search.driver import ray_session
from study.selection.candidates import Candidate
from study.storage.study_folder import StudyFolder
from tests.not_none import not_none

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

Run = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def one_ray_session() -> Iterator[None]:
    with ray_session(StudyConfig()):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def run(place: Path, root: Path, tiny_backbone: Path) -> Run:
    """Run a configuration by name on the miniatures; give the folder of studies."""

    def run(name: str, *overrides: str) -> Path:
        common = [
            *(f"data.root={root}", f"backbone.name={tiny_backbone}", f"storage={place / 'runs'}"),
            *(f"tracking.uri=sqlite:///{place / 'mlflow.db'}", "training.epochs=2"),
            *("resources.gpus_per_trial=0", "resources.max_concurrent=1", "confirm.seeds=[1, 2]"),
        ]
        given = {override.partition("=")[0] for override in overrides}
        common = [override for override in common if override.partition("=")[0] not in given]
        assert main([name, *common, *overrides]) == 0
        return place / "runs"

    return run


def ends(folder: Path) -> set[str]:
    return {
        str(trial.read_end() and not_none(trial.read_end()).status)
        for trial in StudyFolder(folder).trials()
    }


def test_sixteen_shots_base_to_new_on_each_of_the_eleven(
    run: Run, miniature: ModuleType, tmp_path: Path
) -> None:
    for name in miniature.ELEVEN:
        # Two more than 16, since ImageNet's images for validation are from its training images.
        miniature.make(name, tmp_path, classes=4, counts=(18, 4, 2))
    search = ("search.trials=5", "search.asha=null", "confirm.runners_up=0", "data.val_shots=2")
    runs = run("paper/base_to_new", "name=searched", f"data.root={tmp_path}", *search)
    for name in miniature.ELEVEN:
        folder = runs / f"searched-base_to_new-{name}"
        assert ends(folder) == {"finished"}
        rows = pq.read_table(folder / "results.parquet").to_pylist()
        assert sum(row["stage"] == "search" and row["arm"] != "variant" for row in rows) == 5
        best = [c for c in StudyFolder(folder).read_json("candidates.json") if c["label"] == "best"]
        assert best
        split = folder / "shots" / "shots-16-seed-1.jsonl"
        assert split.read_text().count('"split":"train"') == 16 * 4
        tested = [row for row in rows if row["stage"] == "confirm"]
        assert all(row["test_hmean"] is not None for row in tested)
        assert name in (folder / "report.html").read_text()
    assert "hmean" in (runs / "tables.md").read_text()


def test_the_papers_base_to_new_is_confirmed_as_published(run: Run) -> None:
    runs = run("paper/base_to_new", "data.dataset=eurosat")
    folder = runs / "paper-base_to_new-eurosat"
    assert {trial.read_config()["stage"] for trial in StudyFolder(folder).trials()} == {"confirm"}
    assert "78.97" in (runs / "tables.md").read_text()
    before = (folder / "report.html").stat().st_mtime_ns
    run("paper/base_to_new", "data.dataset=eurosat")
    assert (folder / "report.html").stat().st_mtime_ns == before, "it had ended"


@pytest.mark.parametrize("name", ["transfer_domains", "transfer_datasets"])
def test_the_papers_transfers_from_imagenet(name: str, run: Run) -> None:
    runs = run(f"paper/{name}", f"name={name}")
    rows = pq.read_table(runs / name / "results.parquet").to_pylist()
    targets = [column for column in rows[0] if column.startswith("test_imagenet")]
    assert ends(runs / name) == {"finished"}
    if name == "transfer_domains":
        assert targets == [
            *("test_imagenetv2", "test_imagenet_sketch"),
            *("test_imagenet_a", "test_imagenet_r"),
        ]
        for row in rows:
            mean = sum(row[target] for target in targets) / 4
            assert row["test_score"] == pytest.approx(mean)
    assert "Dataset by dataset" in (runs / name / "report.html").read_text()


def test_the_papers_few_shot_studies_of_one_dataset(run: Run) -> None:
    runs = run("paper/few_shot", "data.dataset=dtd", "confirm.seeds=[1, 2]")
    for shots in (1, 2, 4, 8, 16):
        (_, clipfit) = StudyFolder(runs / f"paper-few_shot-dtd-{shots}").read_json(
            "candidates.json"
        )
        assert clipfit["settings"]["distill_weight"] == 8.0
    table = (runs / "tables.md").read_text()
    assert "clipfit, shots 16" in table


@pytest.mark.parametrize(
    ("name", "studies"),
    [("ablation_biases", 1), ("ablation_layernorms", 1), ("ablation_regularizer", 3)],
)
def test_the_papers_ablations(name: str, studies: int, run: Run) -> None:
    # The file names layers 0 to 5 of the twelve of ViT-B/16; a slice takes what there is.
    runs = run(f"paper/{name}", "data.dataset=eurosat", "training.epochs=1")
    folders = sorted(runs.glob(f"paper-{name}-*"))
    assert len(folders) == studies
    assert all(ends(folder) == {"finished"} for folder in folders)


def test_zero_shot_on_a_shift_with_one_template_and_an_ensemble(run: Run, place: Path) -> None:
    runs = run("paper/zero_shot", "data.dataset=imagenet_r")
    for ensemble in ("False", "True"):
        folder = runs / f"paper-zero_shot-imagenet_r-{ensemble}"
        (trial,) = StudyFolder(folder).trials()
        assert "test_accuracy" in trial.read_reports()[-1]
        assert (folder / "leaderboard.md").exists()


def test_no_test_image_is_opened_before_the_choice_is_fixed_and_all_is_on_record(
    run: Run, miniature: ModuleType, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place / "locked"
    folder = miniature.make("eurosat", root, classes=4, counts=(4, 2, 2))
    split = json.loads((folder / "split_zhou_EuroSAT.json").read_text())
    tests = {folder / "2750" / path: b"" for path, _, _ in split["test"]}
    for path in tests:
        tests[path] = path.read_bytes()
        path.write_bytes(b"whoever opens this before confirm finds no image")
    fix = study.workflow.training_stages.fix_candidates

    def fix_and_unlock(*arguments: Any) -> tuple[Candidate, ...]:
        candidates = fix(*arguments)
        for path, contents in tests.items():
            path.write_bytes(contents)
        return candidates

    monkeypatch.setattr(study.workflow.training_stages, "fix_candidates", fix_and_unlock)
    search = ("search.trials=5", "search.asha=null", "data.shots=2", "data.val_shots=1")
    given = (f"data.root={root}", "data.dataset=eurosat", "name=locked")
    runs = run("paper/base_to_new", *given, *search)
    locked = StudyFolder(runs / "locked-base_to_new-eurosat")
    assert ends(locked.path) == {"finished"}
    for trial in locked.trials():
        record = locked.path / "shots" / f"tasks-{trial.read_config()['split_hash']}.jsonl"
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        opened = {line["path"] for line in lines if "path" in line}
        tested = {f"2750/{path}" for path, _, _ in split["test"]}
        assert bool(opened & tested) == (trial.read_config()["stage"] == "confirm")
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    found = mlflow.search_runs(
        experiment_names=["clipfit-paper"], filter_string=f"tags.study = '{locked.name}'"
    )
    (parent,) = found[found["tags.stage"] == "study"]["run_id"]
    kept = {item.path for item in MlflowClient().list_artifacts(parent, "shots")}
    children = found[found["tags.stage"] != "study"]
    assert {f"shots/tasks-{value}.jsonl" for value in children["tags.split_hash"]} <= kept
