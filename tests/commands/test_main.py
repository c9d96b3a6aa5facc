"""One surface of commands: each explains itself at once, and a fault is one message."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import pytest

from study.__main__ import main as as_a_process
from study.commands.main import COMMANDS
from study.config.sweep import SweepStudy
from tests.commands.conftest import Run

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COSTLY = ("torch", "transformers", "ray", "mlflow", "optuna", "pandas", "scipy", "pyarrow")
"""What no message about a typing error imports."""
HEAVY = (*COSTLY, "numpy", "pydantic")
"""What no help imports."""


def test_the_commands_and_the_version_are_those_of_the_package(run: Run):
    words = "run init config resume extend status list leaderboard report predict export sync"
    assert " ".join(COMMANDS) == words
    assert resolve_name(PROJECT["scripts"]["clipfit-study"]) is as_a_process
    assert run("--version").out == f"clipfit-study {PROJECT['version']}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_each_help_begins_with_its_usage_and_no_line_is_wider_than_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, run: Run
):
    monkeypatch.setenv("COLUMNS", "80")
    message = run(*command.split(), "--help").out
    assert message.startswith(f"usage: clipfit-study {command}".rstrip())
    assert [line for line in message.splitlines() if len(line) > 80] == []
    if not command:
        assert all(f"    {name}" in message for name in COMMANDS)
        assert run().out == message, "no words at all start nothing"


@pytest.mark.parametrize("word, meant", [("resum", "resume"), ("version", "--version")])
def test_a_word_that_is_nearly_a_command_is_reported_with_the_command(
    word: str, meant: str, here: Path, refused: Callable[..., str]
):
    assert f"did you mean '{meant}'?" in refused(word, "mine", "--json")
    (here / word).write_text("serch: 3\n")  # a configuration may have such a name
    assert "serch: unknown key (did you mean 'search'?)" in refused(word)


EXITS = {
    "0": "main(['--version'])",
    "1": "(setattr(commands.list, 'run', lambda *_: 1 / 0), main(['list']))[1]",
    "2": "main(['status', 'nosuch'])",
    "130": "(setattr(commands.list, 'run', lambda *_: signal.raise_signal(2)), main(['list']))[1]",
    "141": "main(['--help'])",
}
"""What ends with each exit code; nobody reads the output of the last."""


def test_each_exit_code_of_the_table_is_one(tmp_path: Path):
    page = (ROOT / "study" / "commands" / "README.md").read_text()
    assert re.findall(r"(?m)^\| (\d+) \|", page) == [*EXITS]
    for code, call in EXITS.items():
        reader, writer = os.pipe()
        if code == "141":
            os.close(reader)
        child = (
            # A shell lets what it starts beside itself ignore Ctrl-C.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            f"from study.commands import main as commands; from study.run import main; exit({call})"
        )
        done = subprocess.run(
            [sys.executable, "-c", child], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path
        )
        assert str(done.returncode) == code, call
        assert (b"Traceback" in done.stderr) == (code == "1")
        assert bool(done.stderr) == (code not in ("0", "141"))


MISTYPED = [
    *(["stats"], ["nosuch"], ["--chek"], ["run", "--images"]),
    *(["quickstart", "serch.trials=4"], ["quickstart", "seed=1", "seed=2"]),
    *([command, "nosuch"] for command in ("status", "resume", "leaderboard", "report")),
    ["predict", "nosuch", "."],
    ["export", "nosuch", "--format", "hf", "--out", "x"],
]
HELPS = [["--version"], ["--help"], *([command, "--help"] for command in COMMANDS)]


@pytest.mark.parametrize(
    "lines, code, heavy", [(HELPS, 0, HEAVY), (MISTYPED, 2, COSTLY)], ids=["help", "mistyped"]
)
def test_a_help_and_a_typing_error_import_nothing_heavy(
    lines: list[list[str]], code: int, heavy: tuple[str, ...], tmp_path: Path
):
    child = (
        "import sys\n"
        "from study.commands.main import main\n"
        f"for words in {lines!r}:\n"
        "    code = main(words)\n"
        f"    imported = [name for name in {heavy!r} if name in sys.modules]\n"
        f"    assert (code, imported) == ({code}, []), words\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not any(tmp_path.iterdir())


def test_a_configuration_with_axes_begins_a_sweep(
    here: Path, run: Run, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    begun: list[SweepStudy] = []
    monkeypatch.setattr("study.commands.sweep.run_sweep", begun.extend)
    (here / "grid.yaml").write_text("sweep: {seed: [1, 2]}\n")
    assert run("grid.yaml", "name=my").code == 0
    assert [one.config.seed for one in begun] == [1, 2]
    assert "need a single study" in refused("grid.yaml", "--check", "--estimate")
