"""What the command ``leaderboard`` shows, and which files it writes."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from study.report.leaderboard_tables import write_leaderboard
from study.results.study_result import read_study_result
from tests.commands.conftest import Run
from tests.results.conftest import placed


def test_the_leaderboard_as_json_has_what_its_csv_has(few_shot_study: Path, run: Run):
    write_leaderboard(read_study_result(few_shot_study))
    table = pd.read_csv(few_shot_study / "leaderboard.csv")
    rows = json.loads(run("leaderboard", few_shot_study, "--json").out)
    assert [{*row} for row in rows] == [{*table.columns}] * len(table)
    for column in ("label", "best"):
        assert [row[column] for row in rows] == list(table[column])
    for column in table.select_dtypes("number"):
        values = [math.nan if row[column] is None else row[column] for row in rows]
        assert values == pytest.approx(list(table[column]), nan_ok=True), column


def test_several_studies_are_printed_as_a_sweep(
    few_shot_study: Path, run: Run, refused: Callable[..., str]
):
    two = ["leaderboard", few_shot_study.name, f"storage={few_shot_study.parent}", few_shot_study]
    assert "finished study of a sweep" in refused(*two)
    assert "--json is allowed with one" in refused(*two, "--json")
    placed(few_shot_study, "dtd", "few_shot")
    assert "few_shot: averages" in run(*two).out
    assert "--top is 0" in refused("leaderboard", "--top", "0")
