"""What commands print with ``--json`` is one document that meets its schema, and nothing else."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from study.storage.study_folder import StudyFolder
from study.workflow import json_documents
from study.workflow.json_documents import print_document
from study.workflow.overview import COLUMNS
from study.workflow.status import Status
from tests.case_tables import from_table
from tests.workflow.conftest import Run

SCHEMAS = Path(json_documents.__file__).with_suffix(".json")


def check(text: str, name: str) -> Any:
    """Read a document, and check it against its schema."""
    document = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    schema = {"$ref": f"#/$defs/{name}", **json.loads(SCHEMAS.read_text())}
    Draft202012Validator(schema).validate(document)
    return document


def keys(name: str) -> tuple[str, ...]:
    """Return the keys that a document has by its schema."""
    schema = json.loads(SCHEMAS.read_text())["$defs"][name]
    assert schema["required"] == list(schema["properties"])
    return tuple(schema["properties"])


def test_the_keys_are_those_of_what_is_printed():
    assert keys("StatusDocument") == tuple(field.name for field in fields(Status))
    assert keys("Summary") == COLUMNS


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_null(value: float, capsys: pytest.CaptureFixture[str]):
    row = dict.fromkeys(keys("AblationCell"), "") | {"beside": value}
    row |= {"score_mean": value, "difference_mean": value}
    print_document([row])
    (printed,) = check(capsys.readouterr().out, "Leaderboard")
    assert (printed["score_mean"], printed["beside"]) == (None, None)


@from_table
def test_a_command_prints_one_document(
    study: str, words: list[str], document: str, run: Run, request: pytest.FixtureRequest
):
    folder = request.getfixturevalue(study)
    ran = run(*(word.format(folder) for word in words), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert check(ran.out, document)


def test_studies_and_an_unfinished_one_are_printed(mine: StudyFolder, run: Run):
    (summary,) = check(run("list", "--json").out, "Studies")
    assert summary["test_score"] is None
    assert check(run("status", "mine", "--json").out, "StatusDocument")["running"]


@from_table
@pytest.mark.usefixtures("known")
def test_a_check_prints_what_it_found_and_all_faults(
    words: list[str], faults: list[str], here: Path, run: Run, mlflow_store: str
):
    ran = run("run", *words, f"tracking.uri={mlflow_store}", "--check", "--json")
    found = check(ran.out, "Check")
    assert [fault.partition(":")[0] for fault in found["faults"]] == faults
    assert (found["ok"], ran.code) == (not faults, 2 if faults else 0)
    assert bool(found["estimate"]) == ("--estimate" in words)
    assert ran.err.startswith("error: ") == bool(faults)
    assert bool(found["facts"]) == (not faults)


def test_a_fault_of_another_command_is_told_on_the_error_output_alone(run: Run):
    ran = run("status", "nosuch", "--json")
    assert (ran.code, ran.out) == (2, "")
