"""What is made of a study's results: at its end, and by the command ``report``."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from study.commands.write_results import print_results, write_results
from study.results.study_result import read_study_result
from tests.commands.conftest import Run
from tests.not_none import not_none
from tests.study_writer import StudyWriter


def test_report_lists_its_files_and_what_is_missing_and_measures_drift_if_asked(
    tuned_study: Path, run: Run
):
    printed = run("report", tuned_study, "--drift")
    files = [line for line in printed.out.splitlines() if line.startswith(str(tuned_study))]
    assert files[0] == str(tuned_study / "report.html")
    assert all(Path(file).is_file() for file in files)
    assert {"pareto.png", "drift.png"} <= {Path(file).name for file in files}
    assert (tuned_study / "drift.csv").read_text().count("\n") == 2
    assert "not drawn: " in printed.err


@pytest.mark.parametrize("failed, rows", [("base", 6), ("", 0)])
def test_an_ablation_has_its_outputs_without_a_score_of_its_base(
    ablation_study: Path, failed: str, rows: int
):
    for trial in ablation_study.glob("trials/*"):
        if failed in json.loads((trial / "config.json").read_text())["label"]:
            StudyWriter(ablation_study).fail(trial.name)
    board = read_study_result(ablation_study)
    write_results(board)
    print_results(board, (), Console(file=io.StringIO()))
    assert "<html" in (ablation_study / "report.html").read_text()
    assert not list(ablation_study.glob("leaderboard*")), "a table of cells is in its place"
    cells = not_none(read_study_result(ablation_study).ablation).cells
    assert [cell.comparison for cell in cells] == [None] * rows
    assert len((ablation_study / "ablation.csv").read_text().splitlines()) == max(1, rows + 1)
    assert "base" in not_none(board.ablation).unscored
