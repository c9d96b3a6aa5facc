"""What a study prints before it runs."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.commands import facts as module
from study.commands.check_result import print_facts
from study.commands.estimate import plan_facts
from study.commands.facts import describe_concurrency, study_facts
from study.config.loading import build_config
from study.config.schema import ResourcesConfig
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.settings import NONE


def study(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def test_what_a_study_will_work_on_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = {"shots": 4, "templates": ["[bold]{}[/bold]", "{}"]}
    print_facts([*study_facts(study(tmp_path, data=data))], Console(width=500))
    found = capsys.readouterr().out
    assert "896 in train, 0 in validation, 901 in test" in found
    assert "cross-validation over the training and validation images" in found
    assert "“[bold]digit zero[/bold]”" in found
    # 3 · 64 biases of the text encoder, 8 LayerNorms of width 96 in the other.
    assert "563,104 parameters, of which CLIPFit as published tunes 1,728" in found


TWO = {"baselines": {"full": {"method": "full"}, "lora": {"method": "lora"}}}
OWN = {**NONE, "ln": {"subset": "ln", "rates": {"ln": 0.1}}}


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
        ({"search": {"trials": 0, "baselines": OWN}}, ["test 5 trials: 1 configuration with 5"]),
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


@pytest.mark.parametrize(
    "address, given, gpus, expected",
    [
        ("local", {}, [], "8 at once, each on 1 CPU core of 8"),
        ("local", {"max_concurrent": 3}, [], "3 at once, "),
        ("local", {"cpus_per_trial": 5}, [], "1 at once, each on 5 CPU cores of 8"),
        ("local", {"gpus_per_trial": 0.5, "cpus_per_trial": 2}, ["One"], "2 at once, "),
        ("local", {}, ["One"], "8 at once, each on 1 CPU core of 8; the GPU (One) is not used"),
        ("10.0.0.1:6379", {}, [], "as many at once as the cluster"),
        ("10.0.0.1:6379", {"max_concurrent": 4}, [], "up to 4 at once"),
    ],
)
def test_trials_at_once_are_what_fits_on_this_machine_or_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    given: JsonObject,
    gpus: list[str],
    expected: str,
):
    monkeypatch.setenv("RAY_ADDRESS", address)  # local even on the head of a cluster
    monkeypatch.setattr(module, "count_cores", lambda: 8)
    monkeypatch.setattr(module, "list_gpus", lambda: gpus)
    assert describe_concurrency(ResourcesConfig(**given)).startswith(expected)
