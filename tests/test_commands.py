"""One surface of commands: each explains itself at once, and a fault is one message."""

import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from study.commands import COMMANDS, main
from study.workflow import run_study as run_study_module

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "ray", "mlflow", "optuna", "transformers", "pandas", "scipy")
LIGHT = {*COMMANDS} - {"serve", "check-data"}  # these two read arrays and tables of files early


def test_each_command_has_a_function() -> None:
    for command in COMMANDS.values():
        assert callable(resolve_name(command.code))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert resolve_name(scripts["clipfit-study"]) is main


@pytest.mark.parametrize("words", [[], *([command] for command in COMMANDS)], ids=" ".join)
def test_help_is_there_without_heavy_imports(words: list[str]) -> None:
    heavy = (*HEAVY, *(("numpy", "pyarrow", "pydantic") if {*words} <= LIGHT else ()))
    code = (
        "import runpy, sys\n"
        f"sys.argv = {['study', *words, '--help']!r}\n"
        "try: runpy.run_module('study', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(" ".join(["usage: clipfit-study", *words]))
    assert done.stdout.rstrip().endswith("[]")
    if not words:
        assert all(f"    {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("words", [["run", "quickstart"], ["quickstart"], ["run"], []])
def test_the_word_run_may_be_left_out(
    words: list[str], tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    started: list[Any] = []
    monkeypatch.setattr(
        run_study_module, "run_study", lambda config, *_, **__: started.append(config)
    )
    assert main([*words, "seed=3"]) == 0
    (config,) = started
    assert (config.data.dataset, config.seed) == ("digits", 3)


def test_a_word_that_is_neither_command_nor_configuration_leads_to_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["leaderbord"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no configuration 'leaderbord'")
    assert "clipfit-study --help lists the commands" in said


@pytest.mark.parametrize(
    "words", [["plots"], ["plots", "a", "b"], ["list", "store=x"], ["list", "storage="], ["merge"]]
)
def test_words_that_a_command_does_not_take_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
    assert f"clipfit-study {words[0]}: error: " in capsys.readouterr().err


def test_a_module_that_reads_its_own_arguments_gets_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", "digits"]) == 0
    assert "whole: every listed image is there" in capsys.readouterr().out
    assert main(["check-data", "eurosat", str(tmp_path)]) == 1
    assert main(["serve", "--stop", "--database", str(tmp_path / "none" / "mlflow.db")]) == 0
    assert "none served" in capsys.readouterr().out
