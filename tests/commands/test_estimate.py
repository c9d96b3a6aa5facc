"""What a study prints before it runs: its facts and plan, and the time that it would take."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.commands import estimate as module
from study.commands import facts
from study.commands.check_result import print_facts
from study.commands.estimate import (
    estimate,
    measure_and_estimate,
    plan_facts,
    plan_trials,
)
from study.commands.facts import describe_concurrency, study_facts
from study.config.loading import build_config
from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.cost import Cost
from study.trial.study import Study
from tests.settings import NONE


def study(tmp_path: Path, backbone: Path, **values: Any) -> Study:
    defaults = {
        "name": "mine",
        "storage": str(tmp_path),
        "backbone": {"name": "embedded" if backbone == Path("none") else str(backbone)},
        "resources": {"max_concurrent": 1},
        "data": {"shots": 4},
        "training": {"epochs": 10, "batch_size": 10},
    }
    config = build_config(defaults | values, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


COST = Cost(step=1.0, image=0.001, memory=10**9, start=5.0)


def test_steps_and_evaluations_add_up(tmp_path: Path):
    found = estimate(study(tmp_path, Path("none"), search={"trials": 0}), COST, slots=1)
    # Nothing is searched. Of 5 baselines, zero-shot and the linear classifier are one evaluation,
    # and 3 train: 5 seeds, 10 epochs of 4 steps on 40 images, and 901 test images.
    assert found.search_seconds == 0
    assert found.test_seconds == pytest.approx(5 * (3 * 10 * 4 * 1.0 + 4 * 901 * 0.001))
    assert found.trials == 5 * 4


@pytest.mark.parametrize(
    "limits, within",
    # What is limited is 3 baselines of 10 epochs and 44 trials of 5 + 1/9; the baselines are not.
    # An epoch is 24 steps of a second, of 4 folds of 60 images; 80 images are scored in 0.08 s,
    # after epochs 3 and 9, where halving decides, and after the last; the two baselines that train
    # no encoder, once.
    [
        ({"minutes": 1e6, "asha": None}, 47 * (10 * 24 + 0.08) + 2 * 0.08),
        (
            {"minutes": 1e6},
            3 * (10 * 24 + 3 * 0.08) + 44 * (46 * 24 + 13 * 0.08) / 9 + 2 * 0.08,
        ),
        ({"minutes": 30.0}, 2 * 1800),
        ({"minutes": 1.0}, 3 * (10 * 24 + 3 * 0.08)),
    ],
)
def test_a_search_is_shortened_by_halving_and_ends_with_its_time(
    tmp_path: Path, limits: dict[str, Any], within: float
):
    found = estimate(study(tmp_path, Path("none"), search=limits), COST, slots=2)
    assert found.search_seconds == pytest.approx(within / 2)


def test_wall_time_has_the_start_of_processes_beside_training(tmp_path: Path):
    mine = study(tmp_path, Path("none"), search={"minutes": 1.0})
    found = estimate(mine, COST, slots=2)
    # 5 seeds of zero-shot with the linear classifier, 3 baselines, tuned CLIPFit, the best and 2
    # runners-up; one training on 80 images.
    expected = 5 * (7 * (10 * 4 * 1.0) + 8 * 901 * 0.001) / 2
    assert found.test_seconds == pytest.approx(expected)
    assert found.final_seconds == pytest.approx(10 * 8 * 1.0 + 901 * 0.001)
    training = found.search_seconds + found.test_seconds + found.final_seconds
    assert found.training_seconds == pytest.approx(training)
    # Ray and the processes of three steps.
    assert found.wall_seconds == pytest.approx(training / module.BUSY + 4 * 5.0)


def test_nothing_is_measured_where_no_trial_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        module, "measure_in_processes", lambda *_, **__: pytest.fail("it was measured")
    )
    message = r"too small for a trial with resources\.cpus_per_trial=999 "
    with pytest.raises(StudyError, match=message):
        measure_and_estimate(study(tmp_path, Path("none"), resources={"cpus_per_trial": 999}))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"baselines": {"full": {"method": "full"}, "lora": {"method": "lora"}}},
        {"trials": 9, "baselines": {"projection": {"method": "projection"}}, "method_trials": 2},
    ],
    ids=["quickstart", "methods", "projection"],
)
def test_the_trials_of_the_plan_are_those_that_the_search_counts(
    tmp_path: Path, values: dict[str, Any]
):
    mine = study(tmp_path, Path("none"), search=values)
    planned = plan_trials(mine)
    assert sum(one.trials for one in planned.search) == mine.config.search.planned_trials


def small(tmp_path: Path, **values: Any) -> Study:
    config = build_config({"name": "mine", "storage": str(tmp_path), **values}, "here")
    return Study(config, StudyFolder(tmp_path / "mine"))


def test_what_a_study_will_work_on_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = {"shots": 4, "templates": ["[bold]{}[/bold]", "{}"]}
    print_facts([*study_facts(small(tmp_path, data=data))], Console(width=500))
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
    text = "\n".join(f"{fact.name} {fact.text}" for fact in plan_facts(small(tmp_path, **values)))
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
    monkeypatch.setattr(facts, "count_cores", lambda: 8)
    monkeypatch.setattr(facts, "list_gpus", lambda: gpus)
    assert describe_concurrency(ResourcesConfig(**given)).startswith(expected)
