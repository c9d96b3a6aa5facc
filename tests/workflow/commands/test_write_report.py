"""The command ``report``."""

import shutil
from pathlib import Path

import optuna

from tests.workflow.conftest import Run


def test_report_lists_its_files_and_what_is_missing(few_shot_study: Path, run: Run):
    backend = optuna.storages.journal.JournalFileBackend(str(few_shot_study / "optuna.journal"))
    storage = optuna.storages.JournalStorage(backend)
    arm = optuna.create_study(storage=storage, study_name="clipfit-tuned", direction="maximize")
    arm.add_trial(optuna.trial.create_trial(value=0.5))
    printed = run("report", few_shot_study.name, f"storage={few_shot_study.parent}")
    lines = printed.out.splitlines()
    assert lines[0] == str(few_shot_study / "report.html")
    assert str(few_shot_study / "plots" / "pareto.png") in lines
    assert (few_shot_study / "plots" / "pareto.png").is_file()
    assert "importance-clipfit-tuned: not drawn" in printed.err


def test_the_report_of_an_ablation_comes_with_its_charts(
    few_shot_study: Path, ablation_study: Path, run: Run
):
    shutil.copy(few_shot_study / "study.yaml", ablation_study)
    assert run("report", ablation_study).code == 0
    assert (ablation_study / "plots" / "ablation-forest.png").is_file()
