"""Commands print everything on a terminal of any width, and the same wherever they print it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from study.commands import estimate
from study.commands.main import main
from study.results import bootstrap
from study.trial.cost import Cost
from tests.example_studies import ExampleStudy, ablation_study, search_study
from tests.results.conftest import placed
from tests.screens import characters, terminal
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import sync

pytestmark = pytest.mark.long

WIDTH = 60
WIDE = 1000
"""The width of a terminal on which nothing needs to be wrapped."""
COMMANDS = {
    "list": (["list"], "in runs:"),  # first, as some of the others write files
    "leaderboard": (["leaderboard", "glyphs-few-shot"], "best by validation"),
    "leaderboard of two parts": (["leaderboard", "glyphs-base-to-new"], "new %"),
    "status": (["status", "glyphs-few-shot"], "unfinished"),
    "ablation": (["leaderboard", "runs/ablation"], "without vision.ln"),
    "sweep": (["leaderboard", *["glyphs-base-to-new"] * 2], "published"),
    "best configurations": (["leaderboard"], "Best on digits"),
    "check": (["run", "quickstart", "--check", "--estimate"], "all is well"),
}
"""The words of each command, and what shows that it did what it is for."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Path:
    """A folder with finished studies in ``runs``, and their MLflow store."""
    place = tmp_path_factory.mktemp("terminal")
    runs = place / "runs"
    few_shot = ExampleStudy(search_study(runs / "glyphs-few-shot"))
    few_shot.add_linear()
    few_shot.train(few_shot.proposed("search", "search", 99, label="trial 99"), 2, None)
    two_parts = search_study(runs / "glyphs-base-to-new", base_to_new=True)
    placed(two_parts, "eurosat")
    ablation_study(runs / "ablation")
    written = StudyWriter(runs / "a-study-whose-name-is-not-short-at-all")
    for number in (1, 2):
        written.whole(number)
    sync(written, new_store(place))
    return place


@pytest.fixture(autouse=True)
def quick(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Work in the folder, and measure little: intervals are as wide on the screen."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(bootstrap, "DRAWS", 100)
    cost = Cost(step=0.1, image=0.01, memory=10**9)
    monkeypatch.setattr(estimate, "measure_in_processes", lambda *_, **__: cost)


def shown(words: Sequence[str], width: int) -> str:
    """Return what a command that succeeds shows on a terminal."""
    with terminal(width) as screen:
        assert main(words) == 0
    return screen.shown


def squeezed(text: str) -> str:
    """Return text without the spaces and lines' ends by which it is wrapped."""
    return "".join(text.split())


@pytest.mark.parametrize("words, message", COMMANDS.values(), ids=[*COMMANDS])
def test_a_narrow_terminal_shows_each_cell_and_each_sentence(words: list[str], message: str):
    whole, screen = shown(words, WIDE), shown(words, WIDTH)
    assert message in " ".join(whole.split())
    assert not characters(whole) - characters(screen)
    wide = [line for line in screen.splitlines() if cell_len(line) > WIDTH]
    # A command is on one line, so that it can be pasted.
    assert not [line for line in wide if not line.startswith("  clipfit-study ")]
    for line in whole.splitlines():
        is_sentence = line.strip() and not re.match(r"[┏┡└├┃│ ]|.*━", line)
        assert not is_sentence or squeezed(line) in squeezed(screen)


def test_what_is_piped_has_the_width_that_the_readme_names(capsys: pytest.CaptureFixture[str]):
    assert main(["leaderboard", "glyphs-few-shot"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(cell_len(line) for line in lines if re.match(r"[┏┡└├┃│ ]", line)) <= 120
