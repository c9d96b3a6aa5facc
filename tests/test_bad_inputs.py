"""Bad inputs of many kinds through the command line: one message in plain words, and nothing else.

A message has exit code 2 and leaves nothing behind. What may be meant is accepted with a warning,
and what is right without one.
"""

import os
import re
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
from tests.messages import (
    Ran,
    assert_accepted,
    assert_refused,
    carry_out,
    load_data_once,
)

pytest.importorskip("datasets")


LEAKED = re.compile(r"Traceback|codec|Max retries|NoneType|Repo id")
"""What the sentences of libraries have, and plain words have not."""


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


def refused(run: Run, line: str, *parts: str) -> str:
    """Run a command line that is refused; give the message, which has some parts."""
    ran = run(*shlex.split(line))
    assert_refused(ran, *parts)
    assert not LEAKED.search(ran.err), ran.err
    return ran.err


CASES = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text())
VALUES: JsonObject = CASES["values"]
"""A value of the configuration, and the beginning of its fault."""


@pytest.mark.parametrize("override", VALUES)
def test_the_key_of_a_bad_value_is_at_fault(run: Run, override: str):
    ran = run("quickstart", override, "--check")
    assert ran.code == 2, ran.out
    assert ran.out == ""
    head, *lines = ran.err.splitlines()
    assert head.endswith(" 1 fault:")
    faults = [line for line in lines if not line.startswith("    ")]  # without commands
    assert len(faults) == 1
    assert VALUES[override] in faults[0]
    assert not LEAKED.search(faults[0])


SUBSETS: JsonObject = CASES["subsets"]
NEITHER = "zero-shot: null, clipfit: null"
"""Without the baselines that a search needs."""


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_bad_subset_is_reported_though_needed_baselines_are_absent(run: Run, subset: str):
    baseline = f"mine: {{subset: {subset!r}, rates: {{bias: 0.1, ln: 0.1}}}}, {NEITHER}"
    message = refused(
        run, shlex.join(["quickstart", f"search.baselines={{{baseline}}}", "--check"]),
        "search.baselines.mine.subset: ", SUBSETS[subset],
    )  # fmt: skip
    assert ("must keep 'clipfit'" in message) is ("must keep 'zero-shot'" in message)


LINES = {
    **CASES["lines"],
    **{f"bad/{file} --check": message for file, message in CASES["configurations"].items()},
    **{f"quickstart {words} --check": message for words, message in CASES["overrides"].items()},
}
"""A command line that is wrong, and a part of its message."""


@pytest.mark.parametrize("line", LINES)
def test_a_bad_command_line_is_reported(run: Run, line: str):
    refused(run, line, LINES[line])


def data(name: str, *more: str) -> str:
    own = f"quickstart data.dataset=x data.root=bad/{name} data.shots=4 data.val_shots=2 --check"
    return shlex.join([*own.split(), *more])


IMAGES: JsonObject = CASES["images"]
TABLES: JsonObject = CASES["tables"]
CHECKPOINTS: JsonObject = CASES["checkpoints"]


@pytest.mark.parametrize("name", IMAGES)
def test_bad_images_are_reported(run: Run, name: str):
    refused(run, data(name), IMAGES[name])


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_reported(run: Run, name: str):
    refused(run, data(f"{name}.csv"), TABLES[name])


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_bad_checkpoint_is_reported_with_its_folder_and_not_the_hub(
    run: Run, place: Path, name: str
):
    message = refused(
        run, f"quickstart backbone.name=bad/ck_{name} --check",
        f"backbone: backbone '{place}/bad/ck_{name}' ", CHECKPOINTS[name],
    )  # fmt: skip
    assert f"{place}/bad/ck_{name}" in message
    assert "hub" not in message
    assert "huggingface.co" not in message


def test_what_cannot_be_read_is_reported_with_what_helps(run: Run):
    refused(run, data("truncated"), "data.on_corrupt=skip leaves such images out")
    refused(run, data("fake.parquet"), "bad/fake.parquet: not a readable Parquet file")
    refused(
        run, "quickstart data.dataset=eurosat data.root=bad/good --check",
        "split_zhou_EuroSAT.json is missing", "CoOp's DATASETS.md",
    )  # fmt: skip


def test_empty_images_are_reported_once_whether_refused_or_left_out(run: Run):
    ran = run(*shlex.split(data("zerobyte")))
    assert "cotton/" not in ran.out
    assert ran.err.count("cotton/00.png") == 1
    ran = run(*shlex.split(data("zerobyte", "data.on_corrupt=skip")))
    (warning,) = assert_accepted(ran)
    assert warning.count("cotton/00.png") == 1
    assert "the study leaves them out" in warning


def test_a_study_that_cannot_read_an_image_leaves_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    line = data("truncated", f"storage={tmp_path}", "search.folds=2").replace(" --check", "")
    assert main(shlex.split(line)) == 2
    message = "; --check --images finds all such images, and data.on_corrupt=skip leaves"
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("[!.]*"))


ACCEPTED = [*CASES["accepted"], *(data(name) for name in CASES["accepted_data"])]


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_is_right_is_accepted_without_a_warning(run: Run, line: str):
    ran = run(*shlex.split(line), *([] if "--check" in line else ["--check"]))
    assert assert_accepted(ran) == []


WARNED = {data(*words.split()): message for words, message in CASES["warned_data"].items()}
WARNED |= CASES["warned"]


@pytest.mark.parametrize("line", WARNED)
def test_what_may_not_be_meant_is_accepted_with_a_warning(run: Run, line: str):
    ran = run(*shlex.split(line))
    assert_accepted(ran)
    assert WARNED[line] in ran.out


def test_a_listed_image_that_is_missing_is_named_as_one_that_cannot_be_read(run: Run):
    assert_refused(
        run(*shlex.split(data("missingtrain.csv"))),
        "1 of 37 images cannot be read: ",
        "good/silk/99.png",
    )


@pytest.mark.long
def test_an_environment_that_is_odd_does_no_harm(place: Path):
    odd = {
        "LANG": "C", "LC_ALL": "C", "COLUMNS": "20", "CUDA_VISIBLE_DEVICES": "7",
        "OMP_NUM_THREADS": "abc", "MLFLOW_TRACKING_URI": "", "http_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "study", "run", *shlex.split(data("emoji"))],
        cwd=place, env={**os.environ, **odd}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"all is well" in done.stdout
