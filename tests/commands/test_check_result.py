"""A check is printed once, as text or as JSON, and its faults are raised."""

import json
from pathlib import Path

import pytest

from study.commands.check_result import CheckResult, Fact, print_check
from study.errors import DataError, Fault, FaultsError, StudyError
from tests.commands.conftest import Run

FOUND = CheckResult((), ["may not be intended"], [Fact("classes", "10 of digits")])


def test_a_check_as_json_is_the_object(capsys: pytest.CaptureFixture[str]):
    print_check(lambda: FOUND, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "faults": [],
        "warnings": ["may not be intended"],
        "facts": [{"name": "classes", "text": "10 of digits"}],
        "estimate": None,
    }


def test_a_check_as_text_has_facts_and_warnings(capsys: pytest.CaptureFixture[str]):
    print_check(lambda: FOUND, as_json=False)
    facts, well, warning = capsys.readouterr().out.splitlines()
    assert facts.split() == ["classes", "10", "of", "digits"]
    assert well.startswith("all is well")
    assert warning == "may not be intended"


@pytest.mark.parametrize(
    "error, key",
    [
        (DataError("at http://me:s3cret@host"), ""),
        (FaultsError("it has", [Fault("data", "at http://me:s3cret@host")]), "data"),
    ],
)
def test_faults_are_in_the_document_without_passwords_and_raised(
    error: StudyError, key: str, capsys: pytest.CaptureFixture[str]
):
    def check() -> CheckResult:
        raise error

    with pytest.raises(StudyError) as raised:
        print_check(check, as_json=True)
    assert raised.value is error
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault == {"key": key, "message": "at http://***@host"}


def test_faults_that_a_check_returns_are_raised_after_the_rest(capsys: pytest.CaptureFixture[str]):
    faults = [Fault("data", "1 of 2 images cannot be read")]
    with pytest.raises(FaultsError) as raised:
        print_check(lambda: CheckResult(faults, ["beside"]), as_json=False)
    assert raised.value.faults == faults
    assert capsys.readouterr().out == "beside\n"


def test_an_interrupt_prints_no_document(capsys: pytest.CaptureFixture[str]):
    def check() -> CheckResult:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        print_check(check, as_json=True)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("known")
def test_a_check_finds_facts_and_an_estimate_and_writes_nothing(
    here: Path, run: Run, mlflow_store: str
):
    words = ["quickstart", "--check", "data.shots=2", f"tracking.uri={mlflow_store}"]
    out = run(*words, "--images", "--estimate").out
    for line in ("10 of digits: digit zero", "all 1,797 images", "all is well", "for the search"):
        assert line in out
    assert not [*here.rglob("*")]


def test_a_check_of_a_sweep_counts_its_studies(here: Path, run: Run, mlflow_store: str):
    (here / "grid.yaml").write_text("sweep: {seed: [1, 2]}\ndata: {shots: 2}\n")
    words = ["grid.yaml", "name=my", "--check", f"tracking.uri={mlflow_store}"]
    assert run(*words).out.splitlines()[0].split() == ["studies", "2"]
    assert json.loads(run(*words, "--json").out)["facts"] == [{"name": "studies", "text": "2"}]
    assert [path.name for path in here.iterdir()] == ["grid.yaml"]
