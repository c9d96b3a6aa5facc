"""What commands print with ``--json`` is one JSON document, and nothing else."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from study.commands.check_result import CheckResult
from study.commands.estimate import Estimate
from study.commands.json_output import print_json
from study.commands.list import StudySummary
from study.commands.study_status import Status
from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run

CHECKED = {field.name for field in fields(CheckResult)}
ESTIMATED = {field.name for field in fields(Estimate)}


def parsed(text: str) -> Any:
    """Read a document, which has only what every reader of JSON knows: no NaN, no Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_null(value: float, capsys: pytest.CaptureFixture[str]):
    print_json([{"score_mean": value, "beside": (0.5, value)}])
    (printed,) = parsed(capsys.readouterr().out)
    assert printed == {"score_mean": None, "beside": [0.5, None]}


@pytest.mark.parametrize("study", ["predicted", "ablation_study"])
def test_a_leaderboard_has_a_row_for_each_candidate_or_cell(
    study: str, run: Run, request: pytest.FixtureRequest
):
    ran = run("leaderboard", request.getfixturevalue(study), "--json")
    assert (ran.code, ran.err) == (0, "")
    rows = parsed(ran.out)
    assert rows
    assert all({"label", "subset", "chance"} <= row.keys() for row in rows)


def test_studies_and_an_unfinished_one_are_printed(mine: StudyFolder, run: Run):
    (summary,) = parsed(run("list", "--json").out)
    assert tuple(summary) == tuple(field.name for field in fields(StudySummary))
    assert (summary["study"], summary["test_score"]) == ("mine", None)
    status = parsed(run("status", "mine", "--json").out)
    assert tuple(status) == tuple(field.name for field in fields(Status))
    assert all({"trial_id", "status", "settings"} <= trial.keys() for trial in status["running"])
    assert status["running"]


@pytest.mark.parametrize(
    "words, faults",
    [
        (["data.shots=2", "--estimate"], []),
        (["data.shots=500", "tracking.experiment=x"], ["data"]),
        (["serch.trials=3"], ["serch"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("known")
def test_a_check_prints_what_it_found_and_all_faults(
    words: list[str], faults: list[str], here: Path, run: Run, mlflow_store: str
):
    ran = run("run", *words, f"tracking.uri={mlflow_store}", "--check", "--json")
    found = parsed(ran.out)
    assert found.keys() == CHECKED
    assert [fault["key"] for fault in found["faults"]] == faults
    assert ran.code == (2 if faults else 0)
    assert set(found["estimate"] or ()) == (ESTIMATED if "--estimate" in words else set())
    assert ran.err.startswith("error: ") == bool(faults)
    assert bool(found["facts"]) == (not faults)


def test_a_fault_of_another_command_is_printed_on_the_error_output_alone(run: Run):
    ran = run("status", "nosuch", "--json")
    assert (ran.code, ran.out) == (2, "")
