"""The commands that show results: what they print, and which files they write."""

import io
import json
import math
import re
import shutil
from pathlib import Path

import optuna
import pandas as pd
import pytest

from study.commands import main
from tests.report.test_paper_tables import placed


def test_the_leaderboard_prints_the_winner(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(few_shot_study), "--format", "markdown"]) == 0
    assert "best by validation ★" in capsys.readouterr().out


def test_the_leaderboard_as_json_has_what_its_csv_has(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(few_shot_study), "--format", "csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert main(["leaderboard", str(few_shot_study), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [list(table.columns)] * len(table)
    assert [row["label"] for row in rows] == list(table["label"])
    assert [row["winner"] for row in rows] == list(table["winner"])
    for column in table.select_dtypes("number"):
        values = [math.nan if row[column] is None else row[column] for row in rows]
        assert values == pytest.approx(list(table[column]), nan_ok=True), column


@pytest.mark.parametrize(
    "arguments",
    [
        *(("--format", "csv"), ("--top", "0"), ("--base", "x"), ("--to", "x")),
        *(("study", "--where", "x"), ("study", "--format", "yaml"), ("study", "--base", "x")),
        *(("study", "study", "--format", "csv"), ("study", "study", "--base", "x")),
    ],
)
def test_options_of_the_leaderboard_that_do_not_go_together_are_refused(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    words = [str(few_shot_study) if word == "study" else word for word in arguments]
    assert main(["leaderboard", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.match("error: --(format|top|study|to|base) .*(allowed|leave|ablations)", said.err)


def test_drift_prints_sites_and_features_and_names_its_files(
    tuned_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(tuned_study), "--trial", "confirm-best-seed1"]) == 0
    told = capsys.readouterr().out
    assert "mlp.fc2.bias" in told
    assert "Features of the images: mean cosine 1.0000" in told
    assert (tuned_study / "plots" / "drift.png").is_file()
    assert (tuned_study / "drift.csv").read_text().count("\n") == 2


def test_drift_names_a_trial_without_tuned_parameters(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", str(few_shot_study)]) == 2
    assert "confirm-best-seed1" in capsys.readouterr().err
    assert not (few_shot_study / "drift.csv").exists()


def test_report_lists_its_files_and_what_is_missing(
    few_shot_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(few_shot_study / "optuna.journal"))
    storage = optuna.storages.JournalStorage(backend)
    arm = optuna.create_study(storage=storage, study_name="clipfit-tuned", direction="maximize")
    arm.add_trial(optuna.trial.create_trial(value=0.5))
    assert main(["report", few_shot_study.name, f"storage={tmp_path}"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == str(few_shot_study / "report.html")
    assert str(few_shot_study / "plots" / "pareto.png") in lines
    assert (few_shot_study / "plots" / "pareto.png").is_file()
    assert "importance-clipfit-tuned: not drawn" in printed.err


def test_the_report_of_an_ablation_comes_with_its_charts(
    few_shot_study: Path, ablation_study: Path
) -> None:
    shutil.copy(few_shot_study / "study.yaml", ablation_study)
    assert main(["report", str(ablation_study)]) == 0
    assert (ablation_study / "plots" / "ablation-forest.png").is_file()


def test_an_ablation_is_printed_and_its_files_are_named(
    ablation_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", str(ablation_study)]
    assert main(words) == 0
    assert "Holm" in capsys.readouterr().out
    assert main([*words, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("label,base_label,")
    assert main([*words, "--base", "without vision.ln", "--to", str(tmp_path)]) == 0
    assert str(tmp_path / "ablation.csv") in capsys.readouterr().out.splitlines()
    assert ",without vision.ln,test," in (tmp_path / "ablation.csv").read_text()
    assert main([*words, "--base", "nothing"]) == 2
    assert main([*words, "--format", "json"]) == 2


def test_tables_of_a_paper_need_a_sweep(
    few_shot_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = few_shot_study.name
    for words in ([name, name], [name, "--to", str(tmp_path)]):
        assert main(["leaderboard", *words, f"storage={few_shot_study.parent}"]) == 2
        assert "no finished study" in capsys.readouterr().err


def test_tables_of_a_sweep_are_printed_and_written(
    few_shot_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(placed(few_shot_study, "dtd", "few_shot"))
    assert main(["leaderboard", name, name]) == 0
    assert "few_shot: averages" in capsys.readouterr().out
    assert main(["leaderboard", name, "--to", str(tmp_path)]) == 0
    assert str(tmp_path / "tables.md") in capsys.readouterr().out.splitlines()
    assert (tmp_path / "tables.csv").is_file()


@pytest.mark.parametrize(
    "command",
    ["drift", "leaderboard", "report", "status", "sync", "delete"],
)
def test_a_study_that_is_not_there_is_named_with_those_that_are(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "nothing", f"storage={few_shot_study.parent}"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no study 'nothing' in ")
    assert f"there: '{few_shot_study.name}' (" in said.err


def test_a_folder_that_is_no_study_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
