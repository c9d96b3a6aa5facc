"""What the command ``leaderboard`` shows, and which files it writes."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.commands.conftest import Run
from tests.results.test_sweep_scores import placed


def test_the_leaderboard_as_json_has_what_its_csv_has(few_shot_study: Path, run: Run):
    words = ["leaderboard", few_shot_study, "--format"]
    assert "best by validation ★" in run(*words, "markdown").out
    table = pd.read_csv(io.StringIO(run(*words, "csv").out))
    rows = json.loads(run("leaderboard", few_shot_study, "--json").out)
    assert [{*row} for row in rows] == [{*table.columns}] * len(table)
    for column in ("label", "winner"):
        assert [row[column] for row in rows] == list(table[column])
    for column in table.select_dtypes("number"):
        values = [math.nan if row[column] is None else row[column] for row in rows]
        assert values == pytest.approx(list(table[column]), nan_ok=True), column


def test_the_leaderboard_of_a_study_fits_one_screen(
    few_shot_study: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.report.terminal.PIPED", 80)
    screen = run("leaderboard", few_shot_study).out.splitlines()
    assert len(screen) <= 40
    assert max(map(len, screen)) <= 80
    assert len(run("leaderboard", few_shot_study, "--all").out.splitlines()) > len(screen)


def test_an_ablation_is_printed(ablation_study: Path, run: Run):
    words = ["leaderboard", ablation_study]
    assert "Holm" in run(*words).out
    assert run(*words, "--format", "csv").out.startswith("label,split,")


def test_tables_of_a_sweep_are_printed_and_written_and_need_one(
    few_shot_study: Path, tmp_path: Path, run: Run, refused: Callable[..., str]
):
    name = few_shot_study.name
    for words in ([name, name], [name, "--to", tmp_path]):
        message = refused("leaderboard", *words, f"storage={few_shot_study.parent}")
        assert "no finished study" in message
    placed(few_shot_study, "dtd", "few_shot")
    assert "few_shot: averages" in run("leaderboard", few_shot_study, few_shot_study).out
    named = run("leaderboard", few_shot_study, "--to", tmp_path).out.splitlines()
    assert str(tmp_path / "tables.md") in named
    assert (tmp_path / "tables.csv").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "csv"],
        ["--top", "0"],
        ["--to", "x"],
    ],
    ids=" ".join,
)
def test_options_of_the_leaderboard_that_do_not_go_together_are_refused(run: Run, words: list[str]):
    ran = run("leaderboard", *words)
    assert (ran.code, ran.out) == (2, "")
