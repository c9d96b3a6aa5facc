"""What a user reads first is as in golden/, which ``UPDATE=1 pytest tests/report`` writes anew.

No other test of the report holds whole texts: read the difference before it is committed.
"""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from study.commands.main import main
from study.commands.write_results import print_results
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy

GOLDEN = Path(__file__).with_name("golden")

SameAsGolden = Callable[[str, str], None]


@pytest.fixture
def same_as_golden(tmp_path: Path) -> SameAsGolden:
    """Fails unless a text is that of a golden file, which is written where UPDATE is set."""

    def same_as_golden(name: str, text: str):
        text = re.sub(r" +(?=\n)", "", text.replace(str(tmp_path), "PLACE"))
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("UPDATE"):
            file.write_text(text)
        assert text.splitlines() == file.read_text().splitlines()

    return same_as_golden


@pytest.mark.parametrize("kind", ["run", "ablation"])
def test_the_end_of_a_study(
    kind: str,
    few_shot_study: Path,
    ablation_study: Path,
    monkeypatch: pytest.MonkeyPatch,
    same_as_golden: SameAsGolden,
):
    ExampleStudy(few_shot_study).add_linear()
    folder = ablation_study if kind == "ablation" else few_shot_study
    monkeypatch.chdir(folder.parent)
    output = io.StringIO()
    print_results(read_study_result(folder), [], Console(file=output, width=80))
    same_as_golden(f"end-of-{kind}", output.getvalue())


def test_a_leaderboard(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], same_as_golden: SameAsGolden
):
    ExampleStudy(few_shot_study).add_linear()
    assert main(["leaderboard", str(few_shot_study)]) == 0
    same_as_golden("leaderboard", capsys.readouterr().out)


def test_the_headings_of_a_report(report: str, same_as_golden: SameAsGolden):
    found = re.findall(r"<h([123])>(.*?)</h", report)
    headings = [f"{'  ' * int(level)}{text}\n" for level, text in found]
    same_as_golden("headings", "".join(headings))
