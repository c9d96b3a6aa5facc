"""What was written in another format is refused by its number, and what is written has one."""

import json
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from study.commands.main import main
from study.config.loading import build_config, dump_config
from study.method.delta import DeltaInfo, save_delta
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder

INFO = DeltaInfo("tiny", None, "0" * 16, "none", ("cat",), ("{}",))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "runs" / "mine")
    folder.create(dump_config(build_config({"name": "mine"}, "test")), {})
    return folder


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    path = tmp_path / "delta.safetensors"
    save_delta(path, {}, INFO)
    return path


def header(delta: Path) -> dict[str, str]:
    with safe_open(delta, "pt") as file:
        return dict(file.metadata())


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that is refused; return its message on one line."""
    assert main(list(words)) == 2
    return " ".join(capsys.readouterr().err.split())


def test_each_file_begins_with_the_number(folder: StudyFolder, delta: Path):
    identity = json.loads((folder.path / "identity.json").read_text())
    assert next(iter(identity.items())) == ("format", 2)
    assert folder.config_path.read_text().startswith("format: 2\n")
    assert header(delta)["format"] == "clipfit-delta-2"


@pytest.mark.parametrize(
    "numbers, has",
    [
        ({"format": 1}, "format 1"),
        ({"format": True}, "format True"),
        ({}, "no format number"),
    ],
)
@pytest.mark.parametrize("name", ["identity.json", "study.yaml"])
def test_a_study_of_another_format_is_refused(
    folder: StudyFolder,
    capsys: pytest.CaptureFixture[str],
    name: str,
    numbers: JsonObject,
    has: str,
):
    if name == "identity.json":
        folder.write_json(name, {"study_id": "0", **numbers})
    else:
        values = yaml.safe_load(folder.config_path.read_text())
        del values["format"]
        folder.write_config(yaml.safe_dump({**values, **numbers}))
    message = refusal(capsys, "status", str(folder.path))
    assert f"{folder.path / name} has {has}, and" in message
    assert "reads format 2;" in message


def test_every_command_refuses_a_study_of_1_0_0_in_one_sentence(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
):
    folder.write_json("identity.json", {"format": 1, "study_id": "0"})
    folder.write_config(folder.config_path.read_text().replace("format: 2", "format: 1"))
    lines = "resume", "resume --check", "extend search.trials=+8", "leaderboard", "report", "sync"
    for line in (*lines, "export --format hf --out out"):
        command, *options = line.split()
        message = refusal(capsys, command, str(folder.path), *options)
        assert message.count("has format 1, and this version of clipfit-study reads format 2;") == 1
        assert "MLflow" not in message
    assert main(["list", "--json", f"storage={folder.path.parent}"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "other format"


@pytest.mark.parametrize("number", ["1", "0", ""])
def test_a_delta_of_another_format_is_refused(
    delta: Path, capsys: pytest.CaptureFixture[str], number: str
):
    metadata = {**header(delta), "format": f"clipfit-delta-{number}"}
    save_file(load_file(delta), delta, metadata)
    out = str(delta.with_name("out"))
    message = refusal(capsys, "export", str(delta), "--format", "hf", "--out", out)
    assert f"{delta} has format {number}, and" in message
    assert "reads format 2;" in message
