"""A look at everything that a study needs."""

from pathlib import Path

import pytest

from tests.commands.conftest import Run


@pytest.mark.usefixtures("known")
def test_a_check_tells_what_is_there_and_writes_nothing(here: Path, run: Run, mlflow_store: str):
    words = ["quickstart", "--check", "data.shots=2", f"tracking.uri={mlflow_store}"]
    out = run(*words, "--images").out
    for line in ("10 of digits: digit zero", "images were decoded", "all is well"):
        assert line in out
    assert "search.minutes" not in out
    out = run(*words, "--estimate").out
    assert "a sample of 64 images was decoded" in out
    assert "for the search" in out
    assert not [*here.rglob("*")]


@pytest.mark.parametrize("seeds, counted", [("[1]", "1 study"), ("[1, 2]", "2 studies")])
def test_a_check_of_a_sweep_counts_its_studies(
    here: Path, run: Run, mlflow_store: str, seeds: str, counted: str
):
    (here / "grid.yaml").write_text(f"sweep: {{seed: {seeds}}}\ndata: {{shots: 2}}\n")
    ran = run("grid.yaml", "name=my", "--check", f"tracking.uri={mlflow_store}")
    assert ran.out.splitlines()[0] == f"all is well with {counted}"
    assert [path.name for path in here.iterdir()] == ["grid.yaml"]
