"""The benchmarks run, with tiny settings; of what they say, what no clock tells is held to."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

COMMAND = Path(__file__).parent / "benchmarks" / "run.py"
SAID = {
    "step": ["CPU seconds a step", "GiB above the weights", "‖g − g′‖", "moved by 0.01"],
    "precision": ["Steps of CLIPFit", "| held |", "Attention of a layer"],
    "study": ["first result after", "search, since the command", "--check"],
    "laptop": ["| ViT-B/16 | bfloat16 held | 100 | 16 |", "Early stopping: the 20 proposed"],
}


def said(command: list[str], place: Path) -> str:
    """What a command prints, run in a folder of its own; it must end well."""
    environment = {**os.environ, "PYTHONPATH": str(COMMAND.parents[2])}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("section", SAID)
def test_a_section_prints_its_tables(section: str, tmp_path: Path) -> None:
    told = said([sys.executable, str(COMMAND), section, "--quick", "--rounds", "1"], tmp_path)
    for words in ("torch", *SAID[section]):
        assert words in told


def test_a_replay_records_a_world_once_and_compares_searches_in_it(tmp_path: Path) -> None:
    command = [sys.executable, str(COMMAND.with_name("replay.py"))]
    tiny = ["--tiny", "--studies", "quickstart", "--storage", "rows"]
    compare = [*("compare", "--repetitions", "2", "--only", "random"), *tiny]
    rows = []
    for arguments in (["record", *tiny], ["record", *tiny], compare):
        told = said([*command, *arguments], tmp_path)
        rows.append({p.name: p.read_text() for p in (tmp_path / "rows/tiny").rglob("*-0.jsonl")})
    assert rows[0] == rows[1] != {}, "what has a row is not trained again"
    for words in ("**quickstart**: 17 configurations", "not to be trusted", "| random | 2 |"):
        assert words in told


def test_a_quick_answer_prints_its_tables_and_runs_no_study_again(tmp_path: Path) -> None:
    command = [sys.executable, str(COMMAND.with_name("answer.py")), "--quick"]
    for studies in (2, 0):
        told = said([*command, "--only", "digits", "--storage", "answers"], tmp_path)
        for words in (f"\n{studies} studies: ", "winner ★", "Ladder"):
            assert words in told
        assert (tmp_path / "answers" / "answer.md").read_text().startswith("`python")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_gradients_of_a_model_as_large_as_the_papers_are_those_of_the_reading_version(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(COMMAND.parent)
    step = importlib.import_module("step")
    plain, staged = step.gradients("clipfit", 20, 4, dtype, step.MOVED)
    assert step.furthest(staged, plain) < tolerance


def test_a_section_that_is_not_there_is_told() -> None:
    done = subprocess.run(
        [sys.executable, str(COMMAND), "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no section none; there are step, precision" in done.stderr
