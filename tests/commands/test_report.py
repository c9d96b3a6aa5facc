"""The command ``report``."""

import shutil
from pathlib import Path

from study.storage.study_folder import StudyFolder
from tests.commands.conftest import Run


def test_report_lists_its_files_and_what_is_missing(mine: StudyFolder, run: Run):
    printed = run("report", "mine")
    lines = printed.out.splitlines()
    assert lines[0] == str(mine.path / "report.html")
    assert str(mine.path / "plots" / "rungs.png") in lines
    assert all(Path(line).is_file() for line in lines)
    assert "agreement: not drawn" in printed.err


def test_the_report_of_an_ablation_comes_with_its_charts(
    few_shot_study: Path, ablation_study: Path, run: Run
):
    shutil.copy(few_shot_study / "study.yaml", ablation_study)
    assert run("report", ablation_study).code == 0
    assert (ablation_study / "plots" / "ablation-forest.png").is_file()


def test_drift_is_measured_if_asked(tuned_study: Path, run: Run):
    said = run("report", tuned_study, "--drift").out
    assert "mlp.fc2.bias" in said
    assert (tuned_study / "plots" / "drift.png").is_file()
    assert (tuned_study / "drift.csv").read_text().count("\n") == 2
