"""The command line as a script: what it starts, and what it imports."""

import errno
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study import run as run_module
from study.commands import execution
from study.run import main
from study.storage.study_folder import StudyFolder
from study.trial.study import Study

SCRIPT = Path(run_module.__file__ or "")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a configuration, ``mine.yaml``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    return tmp_path


@pytest.fixture
def conducted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Take the place of a study: nothing may start Ray here."""
    calls = []

    def run_study(study: Study, console: Any, *, resume: bool):
        calls.append((study.config, study.folder, resume))

    monkeypatch.setattr(execution, "run_study", run_study)
    return calls


def run_script(script: Path, *arguments: str, at_end: str) -> str:
    """Run a script as Python does, and then an expression; return the last line of the output."""
    code = (
        "import runpy, sys\n"
        f"script, sys.argv = {str(script)!r}, {['run.py', *arguments]!r}\n"
        f"sys.path[0] = {str(script.parent)!r}\n"
        "try: runpy.run_path(script, run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        f"print({at_end})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_the_embedded_study_is_checked_without_heavy_imports_and_leaves_nothing(here: Path):
    before = list(here.iterdir())
    heavy = "[name for name in ('ray', 'mlflow', 'optuna') if name in sys.modules]"
    words = ("--check", f"tracking.uri=sqlite:///{here}/mlflow.db")
    assert run_script(SCRIPT, *words, at_end=heavy) == "[]"
    assert list(here.iterdir()) == before


@pytest.mark.parametrize(
    "words, configured, seed",
    [
        (["mine.yaml"], "", 7),
        (["quickstart", "seed=3"], "mine.yaml", 3),
        (["seed=3", "configs/quickstart.yaml"], "", 3),
        (["run"], "mine.yaml", 7),
        ([], "mine.yaml", 7),
        ([], "", 1),
    ],
)
def test_the_script_starts_the_study_that_is_named_by_words_else_by_the_environment(
    words: list[str],
    configured: str,
    seed: int,
    conducted: list[Any],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("STUDY_CONFIG", configured)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert not end.value.code
    ((config, _, resumed),) = conducted
    assert (config.seed, resumed) == (seed, False)


def test_options_may_stand_before_other_words(monkeypatch: pytest.MonkeyPatch):
    seen: list[Study] = []
    monkeypatch.setattr("study.commands.check.check_study", lambda study, **_: seen.append(study))
    assert main(["--check", "seed=3", "quickstart", "search.trials=9"]) == 0
    assert (seen[0].config.seed, seen[0].config.search.trials) == (3, 9)


def test_a_resumed_study_has_the_configuration_it_was_frozen_with(here: Path, conducted: list[Any]):
    StudyFolder(here / "elsewhere" / "mine").create("format: 2\nname: mine\nseed: 7\n", {})
    assert main(["resume", "mine", "storage=elsewhere"]) == 0
    ((config, folder, resumed),) = conducted
    assert (config.seed, folder.name, resumed) == (7, "mine", True)


def test_a_folder_that_one_may_not_look_into_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object):
        raise PermissionError(errno.EACCES, "Permission denied", "/home/other/runs")

    monkeypatch.setattr("study.storage.study_folder.studies", fail)
    assert main(["list"]) == 2
    error = "error: /home/other/runs cannot be read or written: Permission denied\n"
    assert capsys.readouterr().err == error


def test_the_package_is_off_the_path_of_the_script_and_a_home_folder_stays(tmp_path: Path):
    first = "'', sys.path[0]"
    assert run_script(SCRIPT, "--help", at_end=first) != f" {SCRIPT.parent}"
    for name in ("api.py", "errors.py", "__init__.py"):
        (tmp_path / name).touch()
    (tmp_path / "study").symlink_to(SCRIPT.parent)
    script = tmp_path / "run.py"  # as `ray submit` copies it
    script.write_bytes(SCRIPT.read_bytes())
    assert run_script(script, "--help", at_end=first) == f" {tmp_path}"
