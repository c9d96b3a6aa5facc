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
from study.commands.outcome import print_outcome
from study.report.paper_tables import sweep_summary
from study.results.sweep_scores import read_sweep
from tests.changed_studies import board_of
from tests.config.test_shipped import CONFIGS
from tests.fake_studies import add_answer
from tests.results.conftest import placed

GOLDEN = Path(__file__).with_name("golden")
VARYING = ((r"CPU cores? of \d+", "CPU core of N"), (r" +(?=\n)", ""))
"""What depends on the machine."""

SameAsGolden = Callable[[str, str], None]


@pytest.fixture
def same_as_golden(tmp_path: Path) -> SameAsGolden:
    """Fails unless a text is that of a golden file, which is written where UPDATE is set."""

    def same_as_golden(name: str, text: str):
        text = text.replace(str(tmp_path), "PLACE").replace(str(CONFIGS), "CONFIGS")
        for pattern, words in VARYING:
            text = re.sub(pattern, words, text)
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
    folder = ablation_study if kind == "ablation" else add_answer(few_shot_study)
    monkeypatch.chdir(folder.parent)
    output = io.StringIO()
    print_outcome(board_of(folder), [], Console(file=output, width=80))
    same_as_golden(f"end-of-{kind}", output.getvalue())


def printed(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    """Return what a command prints that ends with an exit code."""
    try:
        ended = main([*map(str, words)])
    except SystemExit as end:  # after --help
        ended = int(end.code or 0)
    assert ended == code
    both = capsys.readouterr()
    return both.err if code else both.out


def test_the_end_of_a_sweep(make_study: Callable[..., Path], same_as_golden: SameAsGolden):
    names = ("dtd", "eurosat")
    folders = [placed(make_study(name, base_to_new=True), name) for name in names]
    output = io.StringIO()
    Console(file=output, width=80).print(sweep_summary(read_sweep(folders)))
    same_as_golden("end-of-sweep", output.getvalue())


def test_a_leaderboard(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str], same_as_golden: SameAsGolden
):
    same_as_golden("leaderboard", printed(capsys, 0, "leaderboard", add_answer(few_shot_study)))


def test_the_headings_of_a_report(report: str, same_as_golden: SameAsGolden):
    found = re.findall(r"<h([123])>(.*?)</h", report)
    headings = [f"{'  ' * int(level)}{text}\n" for level, text in found]
    same_as_golden("headings", "".join(headings))


@pytest.mark.parametrize(
    "name, code, words",
    [
        ("check", 0, ["run", "quickstart", "--check", "resources.max_concurrent=1"]),
        ("help", 0, ["--help"]),
        ("error", 2, ["run", "quickstart", "search.trails=3", "--check"]),
    ],
)
def test_the_answer_of_a_command(
    name: str,
    code: int,
    words: list[str],
    tmp_path: Path,
    mlflow_store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    same_as_golden: SameAsGolden,
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    same_as_golden(name, printed(capsys, code, *words))
