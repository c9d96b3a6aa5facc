"""What a study prints before it runs: its facts and plan, and the time that it would take."""

import re
from pathlib import Path
from typing import Any

import pytest

from study.commands import estimate as module
from study.commands.estimate import estimate, measure_and_estimate, plan_fact
from study.commands.facts import describe_concurrency, study_facts
from study.config.loading import build_config
from study.config.schema import ResourcesConfig
from study.errors import StudyError
from study.search import cluster
from study.search.cluster import count_slots
from study.search.planned_trials import plan_trials
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.cost import Cost
from study.trial.study import Study
from tests.settings import NONE

COST = Cost(step=1.0, image=0.001, memory=10**9, start=5.0)


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """Make a study of the digits with some values."""

    def study(**values: Any) -> Study:
        defaults = {
            "name": "mine",
            "storage": str(tmp_path),
            "data": {"shots": 4},
            "training": {"epochs": 10, "batch_size": 10},
        }
        return Study(build_config(defaults | values, "here"), StudyFolder(tmp_path / "mine"))

    return study


def test_steps_and_evaluations_add_up_without_a_search(study: Any):
    found = estimate(study(search={"trials": 0}), COST, slots=1)
    # Of 5 baselines, zero-shot and the linear classifier are one evaluation, and 3 train: 5 seeds,
    # 10 epochs of 4 steps on 40 images, and 901 test images.
    assert found.search_seconds == 0
    assert found.test_seconds == pytest.approx(5 * (3 * 10 * 4 * 1.0 + 4 * 901 * 0.001))
    assert found.trials == 5 * 4


def test_a_method_may_have_steps_of_its_own_number_and_size(study: Any):
    baselines = {**NONE, "zero-shot": {"subset": "none"}, "2sfs": {"method": "two_stage"}}
    mine = study(search={"trials": 0, "baselines": baselines}, test={"seeds": [1, 2]})
    steps = 300 * 4 * 32 / 10  # those of 32 images cost as much as so many of 10
    expected = 2 * (steps + 2 * 901 * 0.001)
    assert estimate(mine, COST, slots=1).test_seconds == pytest.approx(expected)


@pytest.mark.parametrize(
    "limits, within",
    # What is limited is 3 baselines of 10 epochs and 44 trials of 5 + 1/9; the baselines are not.
    # An epoch is 24 steps of a second, of 4 folds of 60 images; 80 images are scored in 0.08 s,
    # after epochs 3 and 9, where halving decides, and after the last; the two baselines that train
    # no encoder, once.
    [
        ({"asha": None}, 47 * (10 * 24 + 0.08) + 2 * 0.08),
        ({}, 3 * (10 * 24 + 3 * 0.08) + 44 * (46 * 24 + 13 * 0.08) / 9 + 2 * 0.08),
        ({"minutes": 30.0}, 2 * 1800),
        ({"minutes": 1.0}, 3 * (10 * 24 + 3 * 0.08)),
    ],
)
def test_a_search_is_shortened_by_halving_and_ends_with_its_time(
    study: Any, limits: dict[str, Any], within: float
):
    found = estimate(study(search={"minutes": 1e6, **limits}), COST, slots=2)
    assert found.search_seconds == pytest.approx(within / 2)


def test_wall_time_has_the_start_of_processes_beside_training(study: Any):
    found = estimate(study(search={"minutes": 1.0}), COST, slots=2)
    # 5 seeds of zero-shot with the linear classifier, 3 baselines, tuned CLIPFit, the best and 2
    # runners-up; one training on 80 images.
    expected = 5 * (7 * (10 * 4 * 1.0) + 8 * 901 * 0.001) / 2
    assert found.test_seconds == pytest.approx(expected)
    assert found.final_seconds == pytest.approx(10 * 8 * 1.0 + 901 * 0.001)
    training = found.search_seconds + found.test_seconds + found.final_seconds
    assert found.training_seconds == pytest.approx(training)
    # Ray and the processes of three steps.
    assert found.wall_seconds == pytest.approx(training / module.BUSY + 4 * 5.0)


def test_nothing_is_measured_where_no_trial_fits(study: Any):
    with pytest.raises(StudyError, match=r"too small for a trial .*cpus_per_trial=999 "):
        measure_and_estimate(study(resources={"cpus_per_trial": 999}))


def test_facts_have_the_numbers_of_images_and_of_parameters(study: Any):
    found = "\n".join(fact.text for fact in study_facts(study()))
    assert "896 in train, 0 in validation, 901 in test" in found
    # 3 · 64 biases of the text encoder, 8 LayerNorms of width 96 in the other.
    assert "563,104 parameters, of which CLIPFit as published tunes 1,728" in found


TWO = {"baselines": {"full": {"method": "full"}, "lora": {"method": "lora"}}}
PROLIP = {"trials": 9, "baselines": {"p": {"method": "projection"}}, "method_trials": 2}
OWN = {**NONE, "ln": {"subset": "ln", "rates": {"ln": 0.1}}}
RATES = {"bias": [0.1], "ln": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    "values, search, test, final",
    [
        ({"search": TWO}, 5 + 12 + 32 + 4 + 4, 5 * 10, 1),
        ({"search": PROLIP, "test": {"seeds": [1, 2]}}, 5 + 3 + 2 + 2, 2 * 9, 1),
        ({"final": {"images": "shots"}}, 5 + 12 + 32, 5 * 8, 0),
        ({"protocol": "zero_shot"}, 0, 1, 0),
        ({"search": {"trials": 0, "baselines": OWN}}, 0, 5, 0),
        ({"ablation": {"design": "leave_one_out"}}, 0, 5 * 6, 0),
        # One trial for each rate of what a cell tunes.
        ({"ablation": {"design": "only_one", "rates": RATES}}, 30, 5 * 14, 0),
    ],
)
def test_the_plan_counts_the_trials_of_each_step(
    study: Any, values: JsonObject, search: int, test: int, final: int
):
    mine = study(**values)
    planned = plan_trials(mine).values()
    assert [sum(one.trials for one in step) for step in planned] == [search, test, final]
    if mine.protocol.searches(mine.config):
        assert search == mine.config.search.planned_trials
    printed = [int(number) for number in re.findall(r"\d+", plan_fact(mine).text)]
    assert printed == [number for number in (search, test, final) if number]


@pytest.mark.parametrize(
    "given, gpus, slots",
    [
        ({}, [], 8),
        ({"max_concurrent": 3, "cpus_per_trial": 5}, [], 1),
        ({"max_concurrent": 3}, [], 3),
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 2}, ["One"], 2),
        ({"cpus_per_trial": 9}, [], 0),
    ],
)
def test_trials_at_once_are_what_fits_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, given: JsonObject, gpus: list[str], slots: int
):
    monkeypatch.setattr(cluster, "count_cores", lambda: 8)
    monkeypatch.setattr(cluster, "list_gpus", lambda: gpus)
    resources = ResourcesConfig(**given)
    assert count_slots(resources) == slots
    monkeypatch.setenv("RAY_ADDRESS", "local")  # even on the head of a cluster
    assert describe_concurrency(resources).startswith(f"{slots} at once, ")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    most = given.get("max_concurrent", "as many as the cluster has room for")
    assert describe_concurrency(resources).startswith(f"up to {most} at once, ")
