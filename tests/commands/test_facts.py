"""What a study prints before it runs."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from study.commands import facts as module
from study.commands.check_result import Fact, print_facts
from study.commands.estimate import plan_facts
from study.commands.facts import describe_concurrency, study_facts
from study.config.loading import build_config
from study.config.schema import ResourcesConfig
from study.storage.ledger_files import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.settings import NONE


def study(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def facts(tmp_path: Path, **values: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fact in study_facts(study(tmp_path, **values)):
        found.setdefault(fact.name, []).append(fact.text)
    return found


def test_what_a_study_will_work_on_is_printed(tmp_path: Path):
    found = facts(tmp_path, data={"shots": 4})
    assert found["images"][0] == "896 in train, 0 in validation, 901 in test"
    assert "cross-validation over the training and validation images" in found["images"][1]
    # 3 · 64 biases of the text encoder, 8 LayerNorms of width 96 in the other.
    assert found["tuned"][0].startswith("1,728 ")
    assert "563,104 parameters" in found["backbone"][0]


def test_what_a_benchmark_lacks_is_seen_beside_its_published_numbers(
    miniature: ModuleType, tmp_path: Path
):
    miniature.make("dtd", tmp_path / "data", classes=4, counts=(3, 2, 1))
    found = facts(tmp_path, data={"dataset": "dtd", "root": str(tmp_path / "data"), "shots": 2})
    assert "12 in train" in found["images"][0]
    assert "2,820 in train" in found["images"][0]


def test_prompts_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = {"shots": 2, "templates": ["[bold]{}[/bold]", "{}"]}
    print_facts([*study_facts(study(tmp_path, data=data))], Console(width=120))
    assert "“[bold]digit zero[/bold]”" in capsys.readouterr().out


TWO = {"baselines": {"full": {"method": "full"}, "lora": {"method": "lora"}}}


@pytest.mark.parametrize(
    "values, amounts",
    [
        ({}, ["search 49 trials: 5 baselines", "32 of other parameters", "8 configurations"]),
        ({"search": TWO}, ["search 57 trials: 5 baselines", "4 of full", "4 of LoRA"]),
        (
            {"search": {"trials": 8, "minutes": 5}, "test": {"seeds": [1, 2]}},
            ["search 9 trials", "2 of other", "2 seeds", "5 minutes"],
        ),
        ({"protocol": "zero_shot"}, ["test 1 trial: 1 configuration with 1 seed each"]),
        ({"search": {"trials": 0}}, ["test 20 trials: 4 configurations with 5 seeds"]),
        ({"ablation": {"design": "leave_one_out"}}, ["test 30 trials: 6 cells with 5 seeds"]),
        (
            {"ablation": {"design": "only_one", "rates": {"bias": [0.1], "ln": [0.1, 0.2, 0.3]}}},
            ["search 30 trials: 14 cells at up to 3 rates each"],
        ),
    ],
)
def test_the_plan_counts_the_trials_of_each_step(
    tmp_path: Path, values: JsonObject, amounts: list[str]
):
    text = "\n".join(f"{fact.name} {fact.text}" for fact in plan_facts(study(tmp_path, **values)))
    for part in amounts:
        assert part in text, text


def test_a_study_without_a_search_needs_no_clipfit_among_its_baselines(tmp_path: Path):
    search = {"trials": 0, "baselines": {**NONE, "ln": {"subset": "ln", "rates": {"ln": 0.1}}}}
    (row,) = plan_facts(study(tmp_path, search=search, test={"seeds": [1, 2]}))
    assert row == Fact("test", "2 trials: 1 configuration with 2 seeds each")


@pytest.mark.parametrize(
    "given, gpus, expected",
    [
        ({}, [], "8 at once, each on 1 CPU core of 8"),
        ({"max_concurrent": 3}, [], "3 at once, "),
        ({"cpus_per_trial": 5}, [], "1 at once, each on 5 CPU cores of 8"),
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 2}, ["One"], "2 at once, "),
        ({}, ["One"], "8 at once, each on 1 CPU core of 8; the GPU (One) is not used"),
    ],
)
def test_trials_at_once_are_what_fits_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, given: JsonObject, gpus: list[str], expected: str
):
    monkeypatch.setenv("RAY_ADDRESS", "local")  # even on the head of a cluster
    monkeypatch.setattr(module, "count_cores", lambda: 8)
    monkeypatch.setattr(module, "list_gpus", lambda: gpus)
    assert describe_concurrency(ResourcesConfig(**given)).startswith(expected)


def test_a_cluster_runs_as_many_trials_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert describe_concurrency(ResourcesConfig()).startswith("as many at once as the cluster")
    assert describe_concurrency(ResourcesConfig(max_concurrent=4)).startswith("up to 4 at once")
