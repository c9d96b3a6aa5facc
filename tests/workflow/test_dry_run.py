"""A look at everything that a study needs."""

from pathlib import Path

import pytest

from study.commands import main


def test_a_check_tells_what_is_there_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], mlflow_store: str
) -> None:
    arguments = ["quickstart", "--check", "data.shots=2", f"tracking.uri={mlflow_store}"]
    before = sorted(here.rglob("*"))
    assert main([*arguments, "--images"]) == 0
    out = capsys.readouterr().out
    for line in ("10 of digits: digit zero", "images were decoded", "all is well"):
        assert line in out
    assert "search.minutes" not in out
    assert main([*arguments, "--estimate"]) == 0
    out = capsys.readouterr().out
    assert "a sample of 64 images was decoded" in out
    assert "for the search" in out
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(("seeds", "counted"), [("[1]", "1 study"), ("[1, 2]", "2 studies")])
def test_a_check_of_a_sweep_counts_its_studies(
    here: Path, capsys: pytest.CaptureFixture[str], mlflow_store: str, seeds: str, counted: str
) -> None:
    (here / "grid.yaml").write_text(f"sweep: {{seed: {seeds}}}\ndata: {{shots: 2}}\n")
    assert main(["grid.yaml", "name=my", "--check", f"tracking.uri={mlflow_store}"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"all is well with {counted}"
    assert [path.name for path in here.glob("*.yaml")] == ["grid.yaml"]
    assert not (here / "runs").exists()
