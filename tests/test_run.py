"""The command line: quick where nothing heavy is needed, and one clear message for each fault."""

import errno
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study import run as run_module
from study.commands import execution as run_study_module
from study.commands.find import find_config
from study.run import main
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests.image_folders import image_folder

SCRIPT = Path(run_module.__file__ or "")
HEAVY_IN_A_CHECK = ("ray", "mlflow", "optuna")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: str) -> Path:
    """Work in an empty folder, with short ways to a server that does not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    return tmp_path


@pytest.fixture
def conducted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Take the place of a study: nothing may start Ray here."""
    calls = []

    def run_study(study: Study, console: Any, *, resume: bool):
        calls.append((study.config, study.folder, resume))

    monkeypatch.setattr(run_study_module, "run_study", run_study)
    return calls


def fault(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run what must fail; give the one message."""
    assert main(arguments) == 2
    message = capsys.readouterr()
    assert message.out == ""
    assert message.err.startswith("error: ")
    assert message.err.count("error: ") == 1
    assert "Traceback" not in message.err
    return message.err


def printed(arguments: list[str]) -> str:
    """Run the script; give what it prints, and at the end which heavy modules it imported."""
    code = (
        "import runpy, sys\n"
        f"script, sys.argv = {str(SCRIPT)!r}, {['run.py', *arguments]!r}\n"
        "try: runpy.run_path(script, run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        f"print([name for name in {HEAVY_IN_A_CHECK!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.rstrip()


def test_the_embedded_study_is_checked_without_heavy_imports_and_leaves_nothing(here: Path):
    message = printed(["--check", "tracking.uri=sqlite:///mlflow.db"])
    assert "all is well" in message
    assert message.endswith("[]")
    assert list(here.iterdir()) == []


def test_a_configuration_is_found_by_name_by_path_and_from_the_environment(
    here: Path, conducted: list[Any], monkeypatch: pytest.MonkeyPatch
):
    (here / "mine.yaml").write_text("seed: 7\n")
    for arguments in (["mine.yaml"], [str(here / "mine.yaml")]):
        assert main(arguments) == 0
        assert conducted.pop()[0].seed == 7
    assert main(["quickstart", "seed=3"]) == 0
    assert conducted.pop()[0].seed == 3
    assert find_config("configs/quickstart.yaml").samefile(find_config("quickstart"))
    monkeypatch.setenv("STUDY_CONFIG", str(here / "mine.yaml"))
    assert main(["run"]) == 0
    assert conducted.pop()[0].seed == 7


@pytest.mark.parametrize("configured, seed", [("mine.yaml", 7), ("", 1)])
def test_the_script_alone_starts_the_study_of_the_environment_or_quickstart(
    configured: str,
    seed: int,
    here: Path,
    conducted: list[Any],
    monkeypatch: pytest.MonkeyPatch,
):
    (here / "mine.yaml").write_text("seed: 7\n")
    monkeypatch.setenv("STUDY_CONFIG", configured)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert not end.value.code
    ((config, _, resumed),) = conducted
    assert (config.data.dataset, config.seed, resumed) == ("digits", seed, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["quickstart", "seed=3", "--check", "search.trials=9"],
        ["--check", "seed=3", "quickstart", "search.trials=9"],
    ],
    ids=" ".join,
)
def test_options_may_stand_anywhere(arguments: list[str], monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(
        "study.commands.check.check_study", lambda study, **_: seen.append(study.config)
    )
    assert main(arguments) == 0
    assert (seen[0].seed, seen[0].search.trials) == (3, 9)


@pytest.mark.parametrize(
    "arguments, keys",
    [
        (["sed=1", "training.epochs=many"], ["training.epochs", "sed"]),
        (
            ["search.space.sites=[]", "tracking.uri=http://me:s3cret@host"],
            ["search.space.sites", "tracking.uri"],
        ),
        (
            ["training.epochs=2", "data.dataset=eurosta", "backbone.name=/no/such/model"],
            ["search.asha.grace_period", "data", "backbone"],
        ),
        (["protocol=one_shot", "storage=/dev/null/x"], ["protocol", "storage"]),
    ],
)
def test_faults_of_values_come_together_and_then_those_of_what_a_study_needs(
    capsys: pytest.CaptureFixture[str], arguments: list[str], keys: list[str]
):
    assert main(["quickstart", "name=mine", *arguments, "--check", "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [fault["key"] for fault in faults] == keys


CAUTION = "has seen printed characters and nothing else"


def test_a_check_says_that_the_embedded_backbone_has_seen_characters_alone(
    here: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
):
    def message(*arguments: str) -> str:
        assert main([*arguments, "--check"]) == 0
        return capsys.readouterr().out

    root = image_folder(here / "mine")
    own = ["quickstart", "data.dataset=mine", f"data.root={root}", "data.shots=1", "search.folds=2"]
    transfer = ["quickstart", "protocol=transfer", "data.shots=1"]
    for arguments in (own, [*transfer, "data.targets=[mine]", f"data.targets_root={here}"]):
        (line,) = (line for line in message(*arguments).splitlines() if CAUTION in line)
        assert "'mine'" in line
        assert "backbone.name=openai/clip-vit-base-patch32" in line
    (here / "sweep.yaml").write_text(
        f"sweep: {{data.dataset: [mine, yours]}}\ndata: {{root: {root}, shots: 2}}\n"
    )
    assert message("sweep.yaml").count(CAUTION) == 2
    assert CAUTION not in message(*own, f"backbone.name={tiny_backbone}")
    assert CAUTION not in message(*transfer, "data.targets=[glyphs]")


def test_a_resumed_study_has_the_configuration_it_was_frozen_with(here: Path, conducted: list[Any]):
    StudyFolder(here / "elsewhere" / "mine").create(
        "format: 2\nname: mine\nseed: 7\nstorage: elsewhere\n", {}
    )
    assert main(["resume", "mine", "storage=elsewhere"]) == 0
    ((config, folder, resumed),) = conducted
    assert (config.seed, folder.name, resumed) == (7, "mine", True)


def test_an_interrupt_is_no_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object, **__: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_study_module, "run_study", interrupt)
    assert main(["quickstart"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_one_may_not_read_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object):
        raise PermissionError(errno.EACCES, "Permission denied", "/home/other/runs")

    monkeypatch.setattr("study.storage.study_folder.studies", refuse)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == (
        "error: /home/other/runs cannot be used: Permission denied\n"
    )


def first_folder_on_the_path(script: Path) -> Path:
    """Run a script as Python does; give the first folder on its path once it has ended."""
    code = (
        "import runpy, sys\n"
        f"script, sys.argv = {str(script)!r}, ['run.py', '--help']\n"
        f"sys.path[0] = {str(script.parent)!r}\n"
        "try:\n    runpy.run_path(script, run_name='__main__')\n"
        "except SystemExit:\n    print('first on the path:', sys.path[0])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Path(ran.stdout.rpartition("first on the path: ")[2].strip())


def test_the_package_folder_is_off_the_path_of_the_script():
    assert first_folder_on_the_path(SCRIPT) != SCRIPT.parent


def test_a_home_folder_stays_on_the_path_of_the_script(tmp_path: Path):
    for name in ("api.py", "errors.py", "__init__.py"):
        (tmp_path / name).touch()
    (tmp_path / "study").symlink_to(SCRIPT.parent)
    script = tmp_path / "run.py"
    script.write_bytes(SCRIPT.read_bytes())
    assert first_folder_on_the_path(script) == tmp_path
