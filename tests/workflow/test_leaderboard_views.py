"""What the command ``leaderboard`` shows, and which files it writes."""

import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from study.commands import main
from tests.results.test_sweep_scores import placed


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
