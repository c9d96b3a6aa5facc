"""One surface of commands: each explains itself at once, and a fault is one message."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from study.__main__ import main as as_a_process
from study.commands import execution as run_study_module
from study.commands.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
HEAVY = (
    *("torch", "ray", "mlflow", "optuna", "transformers", "pandas", "scipy"),
    *("numpy", "pyarrow", "pydantic"),
)
"""What no help imports."""
COSTLY = ("torch", "transformers", "ray", "mlflow", "optuna", "pandas", "scipy", "pyarrow")
"""What no message about a typing error imports."""


def test_the_commands_are_the_twelve_of_the_documents():
    words = "run init config resume extend status list leaderboard report predict export sync"
    assert " ".join(COMMANDS) == words
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert resolve_name(scripts["clipfit-study"]) is as_a_process


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_each_help_begins_with_its_usage_and_no_line_is_wider_than_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: clipfit-study {command}".rstrip())
    assert [line for line in told.splitlines() if len(line) > 80] == []
    if not command:
        assert all(f"    {name}" in told for name in COMMANDS)


def test_no_words_at_all_print_the_help_with_the_first_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    helps = []
    monkeypatch.setattr(run_study_module, "run_study", lambda *_, **__: pytest.fail("it starts"))
    for words in ([], ["--help"]):
        assert main(words) == 0
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1]
    for command in ("clipfit-study run", "clipfit-study init FOLDER", "clipfit-study run study"):
        assert command in helps[0]


@pytest.mark.parametrize("words", [["run", "quickstart"], ["quickstart"], ["run"]], ids=" ".join)
def test_the_word_run_may_be_left_out(
    words: list[str], tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    started = []
    monkeypatch.setattr(
        run_study_module, "run_study", lambda study, *_, **__: started.append(study.config)
    )
    assert main([*words, "seed=3"]) == 0
    (config,) = started
    assert (config.data.dataset, config.seed) == ("digits", 3)


@pytest.mark.parametrize(
    "words",
    [["report"], ["report", "a", "b"], ["list", "store=x"], ["list", "storage="], ["export"]],
    ids=" ".join,
)
def test_words_that_a_command_does_not_take_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(words) == 2
    assert f"clipfit-study {words[0]}: error: " in capsys.readouterr().err


MEANT = {
    "resum": "resume",
    "version": "--version",
    "runn": "run",
    "Run": "run",
    "stat": "status",
    "stats": "status",
    "leaderbord": "leaderboard",
}
"""Words that are no commands, and what they are taken for."""


@pytest.mark.parametrize("word", MEANT)
@pytest.mark.parametrize("more", [[], ["mine", "--json"]], ids=["alone", "with more"])
def test_a_word_that_is_nearly_a_command_is_told_with_the_command(
    word: str, more: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([word, *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"'{word}'" in said.err
    assert f"did you mean '{MEANT[word]}'?" in said.err


def test_a_configuration_may_have_a_name_that_is_nearly_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stats").write_text("serch: 3\n")
    assert main(["stats"]) == 2
    assert "serch: unknown key (did you mean 'search'?)" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"clipfit-study {project['version']}\n"


EXITS = {
    "0": "main(['--version'])",
    "1": "(setattr(commands.list, 'run', lambda *_: 1 / 0), commands.main(['list']))[1]",
    "2": "main(['status', 'nosuch'])",
    "130": "(setattr(commands.list, 'run', lambda *_: signal.raise_signal(2)), "
    "commands.main(['list']))[1]",
    "141": "main(['config', '--schema'])",
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
            f"from study.commands import main as commands; main = commands.main; exit({call})"
        )
        done = subprocess.run(
            [sys.executable, "-c", child], stdout=writer, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        assert str(done.returncode) == code, call


MISTYPED = [
    ["stats"],
    ["nosuch"],
    ["quickstart", "serch.trials=4"],
    ["quickstart", "seed=1", "seed=2"],
    ["status", "nosuch"],
    ["resume", "nosuch"],
    ["run", "--images"],
    ["--chek"],
    ["predict", "nosuch", "."],
    ["export", "nosuch", "--format", "hf", "--out", "x"],
    ["leaderboard", "nosuch"],
    ["report", "nosuch"],
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
