"""Commands print everything on a terminal of any width, and the same wherever they print it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.example_studies import ExampleStudy, ablation_study, search_study
from tests.results.conftest import placed
from tests.screens import characters, run_in_terminal, sentences, squeezed, table_lines
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import sync

pytestmark = pytest.mark.long

WIDTH = 60
WIDE = 1000
"""The width of a terminal on which nothing needs to be wrapped."""
MARK = "\x1e"
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
CHILD = """
import fcntl, json, struct, sys, termios
from study.commands.main import main
from study.results import bootstrap
from study.trial.cost import Cost
from study.commands import estimate

estimate.measure_in_processes = lambda *_, **__: Cost(step=0.1, image=0.01, memory=10**9)
bootstrap.DRAWS = 100  # intervals are as wide on the screen
widths, named = json.loads(sys.argv[1])
for name, words in named.items():
    for width in widths:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        print(f"\\x1e{width}\\x1e{name}\\x1e", end="", flush=True)
        code = main(words)
        if code:
            print("exit code", code)
        sys.stdout.flush()
"""


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


@pytest.fixture(scope="module")
def screens(place: Path) -> dict[tuple[int, str], str]:
    """What each command printed on a pseudo-terminal of each width."""
    words = {name: words for name, (words, _) in COMMANDS.items()}
    work = json.dumps([[WIDE, WIDTH], words])
    output = run_in_terminal(["-c", CHILD, work], place)
    _, *parts = output.split(MARK)
    names = zip(map(int, parts[::3]), parts[1::3], strict=True)
    return dict(zip(names, parts[2::3], strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_does_what_it_is_for(screens: dict[tuple[int, str], str], name: str):
    _, message = COMMANDS[name]
    assert message in " ".join(screens[WIDE, name].split())
    assert "exit code" not in screens[WIDE, name]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_cell_is_lost(screens: dict[tuple[int, str], str], name: str):
    whole, screen = screens[WIDE, name], screens[WIDTH, name]
    assert not characters(whole) - characters(screen)
    wide = [line for line in table_lines(screen) if cell_len(line) > WIDTH]
    # A command is on one line, so that it can be pasted.
    assert not [line for line in wide if not line.startswith("  clipfit-study ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_sentence_is_cut(screens: dict[tuple[int, str], str], name: str):
    screen = squeezed(screens[WIDTH, name])
    for sentence in sentences(screens[WIDE, name]):
        assert squeezed(sentence) in screen


def test_what_is_piped_has_the_width_that_the_readme_names(place: Path):
    words = [sys.executable, "-m", "study", "leaderboard", "glyphs-few-shot"]
    run = subprocess.run(words, cwd=place, capture_output=True, text=True, check=True)
    lines = table_lines(run.stdout)
    assert max(map(cell_len, lines)) <= 120
