"""Bad inputs of many kinds through the command line: the key at fault, and nothing left behind."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from study.config.loading import build_config, dump_config
from study.run import main
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from tests.messages import Ran, carry_out, load_data_once, only_message

pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with all bad inputs in ``bad``, and a study in ``runs``."""
    from tests.bad_inputs import make_bad_inputs

    place = tmp_path_factory.mktemp("place")
    (place / "bad").mkdir()
    make_bad_inputs(place / "bad")
    config = build_config({"name": "mine", "search": {"trials": 12}}, "here")
    folder = StudyFolder(place / "runs" / "mine")
    folder.create(dump_config(config), {})
    (folder.path / ".lock").touch()
    with pytest.MonkeyPatch.context() as patch:
        load_data_once(patch)
        yield place


@pytest.fixture(autouse=True)
def _here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


Run = Callable[..., Ran]


@pytest.fixture
def run(place: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; give its exit code, and what it printed. Nothing may be left behind."""
    return lambda *words: carry_out(main, words, place, capfd)


def check(run: Run, line: str) -> tuple[Ran, JsonObject]:
    """Run ``--check`` with the words of a line; return what it printed, and the result in it.

    A fault that is found before there is anything to check is in no result.
    """
    words = ["bad/own.yaml" if word == "own" else word for word in shlex.split(line)]
    ran = run(*words, "--check", "--json")
    return ran, json.loads(ran.out or '{"faults": [{"key": ""}]}')


TABLE = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text())


@pytest.mark.parametrize("line, at_fault", TABLE["faults"].items())
def test_a_bad_input_is_refused_with_the_key_at_fault(run: Run, line: str, at_fault: str):
    ran, found = check(run, line)
    key, _, part = at_fault.partition(": ")
    assert ran.code == 2
    assert ", ".join(fault["key"] for fault in found["faults"]) == key
    assert part in only_message(ran)


@pytest.mark.parametrize("line, part", TABLE["lines"].items())
def test_a_bad_command_line_is_refused_in_one_message(run: Run, line: str, part: str):
    ran = run(*shlex.split(line))
    assert ran.code == 2
    assert part in only_message(ran)


@pytest.mark.parametrize("line, part", TABLE["accepted"].items())
def test_what_may_be_meant_is_accepted_with_a_warning_where_one_is_due(
    run: Run, line: str, part: str
):
    ran, found = check(run, line)
    assert (ran.code, ran.err, found["faults"]) == (0, "", [])
    warnings = [
        text for text in found["warnings"] if "was trained on printed characters" not in text
    ]
    assert any(part in text for text in warnings) if part else not warnings


def test_a_study_that_cannot_read_an_image_leaves_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    words = ("data.root=bad/truncated", f"storage={tmp_path}", "search.folds=2")
    assert main(["bad/own.yaml", *words]) == 2
    assert "--check --images" in capsys.readouterr().err
    assert not list(tmp_path.glob("[!.]*"))


@pytest.mark.long
def test_an_environment_that_is_odd_does_no_harm(place: Path):
    odd = {
        "LANG": "C", "LC_ALL": "C", "COLUMNS": "20", "CUDA_VISIBLE_DEVICES": "7",
        "OMP_NUM_THREADS": "abc", "MLFLOW_TRACKING_URI": "", "http_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "study", "run", "bad/own.yaml", "data.root=bad/emoji", "--check"],
        cwd=place, env={**os.environ, **odd}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"all is well" in done.stdout
