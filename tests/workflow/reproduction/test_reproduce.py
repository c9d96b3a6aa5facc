"""A reproduction as a whole: its order, its ends, and how it goes on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from study.config.sweep import Member
from study.errors import StudyError
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.workflow.reproduction import reproduce as module
from study.workflow.reproduction.record import StepRecord
from study.workflow.reproduction.result_folder import read_record
from tests.workflow.conftest import Run
from tests.workflow.reproduction.test_record import SCORE


@pytest.fixture
def script(here: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let steps of a quick run do what a test says by their names: nothing, or raise an error."""
    script: dict[str, Any] = {}

    def run_study(member: Any, entry: Any, console: Any) -> dict[str, str]:
        if entry.name in script:
            raise script[entry.name]
        entry.scores = [SCORE]
        return {f"{entry.name}.csv": "label\nclipfit\n", f"{entry.name}.md": f"{here}/x\n"}

    monkeypatch.setattr(module, "_run_study", run_study)
    monkeypatch.setattr(module, "_run_benchmark", lambda command: "steps a second\n")
    monkeypatch.setattr(module, "write_quick_inputs", lambda work: None)
    monkeypatch.setattr(module.Inputs, "find_faults", lambda *_: script.get("faults", []))
    return script


def test_a_failed_step_loses_no_other_and_is_tried_again(script: dict[str, Any], run: Run):
    script["search"] = RuntimeError(f"no CUDA in {Path.cwd()}/a.so")
    first = run("reproduce", "--quick")
    assert first.code == 2
    assert "NO RESULT of search: RuntimeError('no CUDA in a.so')" in first.out
    results = Path("results")
    assert [step.done for step in read_record(results).steps] == [True, True, False, True, True]
    assert (results / "zero_shot-eurosat-False.csv").read_text() == (
        "no measurement,label\nno measurement,clipfit\n"
    )
    assert (results / "gpu.md").read_text().startswith("**no measurement**")
    assert "RuntimeError" in Path("results-work/search.txt").read_text()
    del script["search"]
    assert run("reproduce", "--quick").code == 0
    record = read_record(results)
    assert [(step.done, step.run) for step in record.steps][1:3] == [(True, 0), (True, 1)]
    assert run("reproduce", "--read", results).out.endswith("steps a second\n")
    text = "".join(path.read_text() for path in results.iterdir())
    assert str(Path.cwd()) not in text


def test_what_is_done_is_on_disk_when_ctrl_c_comes(script: dict[str, Any], run: Run):
    script["search"] = KeyboardInterrupt()
    ended = run("reproduce", "--quick", "--out", "mine")
    assert ended.code == 130
    assert "mine has all results so far. To go on, run" in ended.err
    assert [step.done for step in read_record(Path("mine")).steps][:3] == [True, True, False]


def test_what_a_study_lacks_is_its_reason(script: dict[str, Any], run: Run):
    script["faults"] = ["eurosat: no route", "GPU: none"]
    ended = run("reproduce", "--quick", "--only", "few_shot")
    assert ended.code == 2
    for reason in script["faults"]:  # at once, and in the end
        assert ended.out.count(f"NO RESULT of few_shot-eurosat-1: {reason}\n") == 2


def test_a_folder_of_other_results_or_with_damage_is_left_alone(
    script: dict[str, Any], refused: Callable[..., str], run: Run
):
    assert run("reproduce", "--quick", "--only=few_shot").code == 0
    assert "has results with --quick or with other settings" in refused("reproduce")
    assert "with other settings" in refused("reproduce", "--quick", "seed=2")
    printed = run("reproduce", "--read", "results")
    assert (printed.code, "NO MEASUREMENT" in printed.out) == (0, True)
    path = Path("results/scores.csv")
    path.write_text(path.read_text().replace("50", "51"))
    for words in (["--read", "results"], ["--quick"]):
        assert "the file 'scores.csv' was changed" in refused("reproduce", *words)


def test_a_benchmark_needs_a_gpu_and_a_clone(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "list_gpus", list)
    assert "finds no GPU" in run("reproduce", "--only", "benchmark").out
    monkeypatch.setattr(module, "study", SimpleNamespace(__file__=str(here / "study" / "x.py")))
    assert "no part of an installed package" in run("reproduce", "--only", "benchmark").out


def test_a_study_without_a_test_score_has_no_result(
    few_shot_study: Path, monkeypatch: pytest.MonkeyPatch
):
    board = leaderboard(read_results(few_shot_study))
    monkeypatch.setattr(module, "run_member", lambda member, console: None)
    place = {"storage": few_shot_study.parent, "name": few_shot_study.name}
    member = Member("few_shot", {}, board.config.model_copy(update=place))
    entry = StepRecord(name="one", command="run")
    assert set(module._run_study(member, entry, Console())) == {"one.md", "one.csv"}
    assert [score.configuration for score in entry.scores] == [row.label for row in board.entries]
    monkeypatch.setattr(module, "leaderboard", lambda results: replace(board, entries=()))
    with pytest.raises(StudyError, match="no test score of any configuration"):
        module._run_study(member, entry, Console())


@pytest.mark.long
def test_a_quick_run_goes_through_every_part(here: Path, run: Run):
    ended = run("reproduce", "--quick")
    assert ended.code == 0, ended.err + ended.out
    record = json.loads(Path("results/reproduction.json").read_text())
    for step in record["steps"]:
        assert step["done"]
        assert step["scores"] or step["name"] == "benchmark"
    (of_base_to_new,) = [step for step in record["steps"] if step["name"] == "base_to_new-eurosat"]
    assert {score["configuration"] for score in of_base_to_new["scores"]} == {
        "zero-shot",
        "clipfit",
    }
    for path in Path("results").iterdir():
        text = path.read_text()
        assert str(here) not in text
        assert path.name == "sha256.txt" or "no measurement" in text.lower() or "false" in text
    assert run("reproduce", "--read", "results").code == 0
