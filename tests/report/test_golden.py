"""What a user reads first is as in golden/, which ``UPDATE=1 pytest tests/report`` writes anew.

No other test of the report holds whole texts: read the difference before it is committed.
"""

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from study.commands.main import main
from study.commands.write_results import print_results
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy

GOLDEN = Path(__file__).with_name("golden")


def compare_with_golden(name: str, text: str, place: Path):
    """Fail unless a text is that of a golden file, which is written where UPDATE is set."""
    text = re.sub(r" +(?=\n)", "", text.replace(str(place), "PLACE"))
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE"):
        file.write_text(text)
    assert text.splitlines() == file.read_text().splitlines()


@pytest.mark.parametrize("kind", ["run", "ablation"])
def test_the_end_of_a_study(
    kind: str, few_shot_study: Path, ablation_study: Path, monkeypatch: pytest.MonkeyPatch
):
    ExampleStudy(few_shot_study).add_linear()
    folder = ablation_study if kind == "ablation" else few_shot_study
    monkeypatch.chdir(folder.parent)
    output = io.StringIO()
    print_results(read_study_result(folder), [], Console(file=output, width=80))
    compare_with_golden(f"end-of-{kind}", output.getvalue(), folder.parent)


def test_a_leaderboard(few_shot_study: Path, capsys: pytest.CaptureFixture[str]):
    ExampleStudy(few_shot_study).add_linear()
    assert main(["leaderboard", str(few_shot_study)]) == 0
    compare_with_golden("leaderboard", capsys.readouterr().out, few_shot_study.parent)
